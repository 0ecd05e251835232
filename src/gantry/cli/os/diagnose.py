"""``gnt-os diagnose``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gantry.cli import options as shared
from gantry.cli import table
from gantry.client.connection import Connection

EXAMPLES = """
gnt-os diagnose
"""


def options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""
    shared.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """All definitions on all nodes; exit status 1 where one is not valid everywhere."""
    found = Connection().get("os")
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_text(one) for one in found))
    return 0 if all(one["valid"] for one in found) else 1


def _text(one: dict[str, Any]) -> str:
    states = [name for name in ("hidden", "blacklisted") if one[name]]
    state = ", ".join(["valid" if one["valid"] else "invalid", *states])
    body = {name: one[name] for name in ("node_status", "problems", "differing") if one.get(name)}
    return f"OS: {one['name']} [{state}]\n" + table.document(body, 1)
