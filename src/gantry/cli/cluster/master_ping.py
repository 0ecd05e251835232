"""``gnt-cluster master-ping``."""

from __future__ import annotations

import argparse
import json
import sys
import time

from gantry.client import paths
from gantry.client.connection import Connection

EXAMPLES = """
gnt-cluster master-ping
gnt-cluster master-ping && echo "the master answers"
"""


def options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(arguments: argparse.Namespace) -> int:
    """See whether the master answers, from whatever node; the exit status tells."""
    connection, began = Connection(patient=False), time.monotonic()
    connection.get("info")
    took = time.monotonic() - began
    # At its own socket it is this node's, whatever the node was told before.
    name = connection.peer.name if connection.peer else paths.own_name(connection.root)
    if arguments.json:
        sys.stdout.write(json.dumps({"master": name, "seconds": round(took, 3)}) + "\n")
    else:
        sys.stdout.write(f"the master on {name} answers ({took * 1000:.0f} ms)\n")
    return 0
