"""What our definitions of real systems share. Each has its own copy, so that it stands alone."""
