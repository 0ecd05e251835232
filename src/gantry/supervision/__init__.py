"""Live states of nodes and guests, and restarts of guests that should be up.

Knows agents and the queue by their ports only.
"""
