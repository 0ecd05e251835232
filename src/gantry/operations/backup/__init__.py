"""Exports of instances: making, restoring and removing them."""
