"""Operations on node, one a file."""
