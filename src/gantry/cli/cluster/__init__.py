"""Commands of gnt-cluster, one a file."""
