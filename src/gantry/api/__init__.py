"""The master's HTTP interface: resources, queries, streams."""
