"""``gnt-hook webhook-list``."""

from __future__ import annotations

import argparse

from gantry.cli import rows
from gantry.client.connection import Connection

EXAMPLES = """
gnt-hook webhook-list
gnt-hook webhook-list --json
"""
_FIELDS = (
    ("name", "Name", "text"),
    ("url", "URL", "text"),
    ("events", "Events", "other"),
    ("waiting", "Waiting", "number"),
    ("delivered", "Delivered", "number"),
    ("failed", "Failed", "number"),
    ("dropped", "Dropped", "number"),
    ("last_delivered", "LastDelivered", "timestamp"),
    ("last_error", "LastError", "text"),
    ("last_error_at", "LastErrorAt", "timestamp"),
    ("next_try", "NextTry", "timestamp"),
)


def options(parser: argparse.ArgumentParser) -> None:
    """How to show them."""
    rows.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each; no secret is ever shown."""
    found = [[one[name] for name, _, _ in _FIELDS] for one in Connection().get("webhooks")]
    return rows.write(arguments, _FIELDS, found)
