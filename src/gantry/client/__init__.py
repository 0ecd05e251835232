"""The client of the API that the commands use."""
