"""One operation, one small file: <noun>/<verb>.py."""
