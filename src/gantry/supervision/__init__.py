"""Live states of nodes and guests, and restarts of guests that should be up."""
