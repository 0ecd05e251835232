"""Operations on tags, one a file."""
