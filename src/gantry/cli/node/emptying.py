"""The jobs that ``gnt-node migrate`` and ``evacuate`` submit, one an instance."""

from __future__ import annotations

import argparse

from gantry.cli import following

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(arguments: argparse.Namespace, operation: dict[str, Any]) -> int:
    """Submit and follow them, and say how many instances were brought elsewhere."""
    were = "were" if arguments.dry_run == "no" else "could be"
    return following.run(
        arguments,
        operation,
        lambda moved, of: f"{moved} of {of} instances {were} brought elsewhere",
    )
