"""Operations on webhooks, one a file."""
