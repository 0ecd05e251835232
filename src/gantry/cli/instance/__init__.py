"""Commands of gnt-instance, one a file."""
