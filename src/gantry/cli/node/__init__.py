"""Commands of gnt-node, one a file."""
