"""Drivers that run guests: one module or folder a driver. They do not know each other."""
