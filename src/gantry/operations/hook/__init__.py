"""Operations on the hooks of nodes, one a file."""
