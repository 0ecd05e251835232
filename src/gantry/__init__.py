"""Gantry: a VM-cluster manager."""
