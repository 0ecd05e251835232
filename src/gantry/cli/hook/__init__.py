"""Commands of gnt-hook, one a file."""
