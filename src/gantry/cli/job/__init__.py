"""Commands of gnt-job, one a file."""
