"""Showing what a check of files found."""

from __future__ import annotations

import json
import sys

from gantry.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_LEVELS = ("error", "warning", "note")


def options(parser: argparse.ArgumentParser) -> None:
    """What counts."""
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")


def show(arguments: argparse.Namespace, found: dict[str, Any]) -> int:
    """Say ``findings``, from ``nodes`` where there are some; 1 where some count, or a problem."""
    findings = found["findings"]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("".join(_text(one) for one in findings))
        sys.stdout.write(_sum(findings, found["nodes"]))
    for one in found["problems"]:
        sys.stderr.write(f"{one['node']} was not looked at: {one['problem']}\n")
    counting = ("error", "warning") if arguments.strict else ("error",)
    return 1 if found["problems"] or any(one["level"] in counting for one in findings) else 0


def _text(one: dict[str, Any]) -> str:
    path = table.printable(one["path"]) + (f", line {one['line']}" if one["line"] else "")
    where = f"{one['node']} {path}" if one["node"] else path
    hint = f"\n    {one['hint']}" if one["hint"] else ""
    text = f"{one['level']}: {where}: {one['message']}{hint}"
    return "".join(f"{table.printable(line)}\n" for line in text.split("\n"))


def _sum(findings: list[dict[str, Any]], nodes: list[str]) -> str:
    where = f" on {len(nodes)} node{'s' * (len(nodes) != 1)}" if nodes else ""
    if not findings:
        return f"nothing to complain of{where}\n"
    counted = [(sum(one["level"] == level for one in findings), level) for level in _LEVELS]
    shown = [
        f"{number} {level}{'s' * (number != 1)}"
        for number, level in counted
        if number or level != "note"
    ]
    return f"{', '.join(shown)}{where}\n"
