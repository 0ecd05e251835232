"""A guest's NICs on the host (taps, bridges), and the ports that strangers can reach."""
