"""Commands about webhooks, one a file."""
