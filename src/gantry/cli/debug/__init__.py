"""Commands of gnt-debug, one a file."""
