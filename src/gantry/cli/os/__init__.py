"""Commands of gnt-os, one a file."""
