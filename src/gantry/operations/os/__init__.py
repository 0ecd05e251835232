"""Operations on OS definitions."""
