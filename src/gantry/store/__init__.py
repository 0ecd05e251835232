"""Drivers of the Store port; nothing here knows what the keys mean."""
