"""The cluster's own certificate authority, its files, and joining.

Only the master's side needs ``cryptography``; agents must never import what imports it.
"""
