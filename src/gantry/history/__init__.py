"""What does not belong in the store: run records, archived jobs."""
