"""Operations on instance, one a file."""
