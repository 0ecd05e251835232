"""What several operations share: pure pieces of checks, and the wire values of an instance."""
