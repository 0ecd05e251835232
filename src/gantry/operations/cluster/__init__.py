"""Operations on cluster, one a file."""
