"""Operations on debug, one a file."""
