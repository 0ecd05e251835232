"""The OS definition debian: a Debian that boots from its own disk."""
