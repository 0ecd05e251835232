"""What ``info`` tells of one object, as plain values; pure."""
