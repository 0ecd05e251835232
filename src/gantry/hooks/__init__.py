"""Pure: which scripts, on which nodes, with which environment, and what their results mean."""
