"""``gnt-backup``."""
