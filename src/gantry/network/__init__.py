"""A guest's NICs on the host: taps, bridges."""
