"""What a node does when asked."""
