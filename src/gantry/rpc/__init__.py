"""Between master and agents: mutual TLS, HTTP/1.1 and JSON. No order's meaning is known here."""
