"""The wire between master and agents: mutual TLS, orders, questions, events."""
