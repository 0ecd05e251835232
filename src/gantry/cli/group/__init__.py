"""Commands of gnt-group, one a file."""
