"""``gnt-hook show``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import table
from gantry.client.connection import Connection, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-hook show 5c1f03ab92d4
gnt-hook show 5c1f
gnt-hook show 5c1f --json
"""
_CUT = ", of which the first and the last 512 KiB were kept"
_THROWN_AWAY = "(thrown away on the node, to make room)"


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("run", metavar="RUN", help="a run's id, or its beginning: gnt-hook history")


def run(arguments: argparse.Namespace) -> int:
    """Everything that is known; what the node keeps only if it answers."""
    found = Connection().get(f"hooks/runs/{quoted(arguments.run)}")
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    shown = {name: _cell(one) for name, one in found["run"].items()}
    del shown["cause"]
    shown["started"] = table.moment(found["run"]["started"])
    sys.stdout.write(table.document(shown))
    if found["problem"]:
        sys.stdout.write(f"\nthe output is on node {found['run']['node']}: {found['problem']}\n")
        return 0
    for name in ("stdout", "stderr"):
        sys.stdout.write(_output(name, found))
    return 0


def _cell(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value


def _output(name: str, found: dict[str, Any]) -> str:
    text, size = found[name], found["run"][f"{name}_size"]
    cut = _CUT if found["run"][f"{name}_cut"] else ""
    if text is None:
        return f"\n{name}: {_THROWN_AWAY}\n"
    if not text:
        return f"\n{name}: (nothing)\n"
    lines = "".join(f"  {table.printable(line)}\n" for line in text.rstrip("\n").split("\n"))
    return f"\n{name} ({size} bytes{cut}):\n{lines}"
