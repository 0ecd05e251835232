"""Drivers that keep disks: one module a template."""
