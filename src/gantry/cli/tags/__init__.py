"""The tag commands, which every kind of object has."""
