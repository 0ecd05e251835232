"""Gantry: a VM-cluster manager."""

__version__ = "0.1.0"
