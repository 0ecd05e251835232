"""The only place that builds concrete objects and starts processes."""
