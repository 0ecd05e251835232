"""Asking the operator, where there is one."""

from __future__ import annotations

import sys

from gantry.cli.errors import Declined, Unanswered


def ask(question: str, forced: bool, how: str = "-f") -> None:
    """Go on, or Declined. Without a terminal nobody can answer: Unanswered, unless ``forced``."""
    if forced:
        return
    if not sys.stdin.isatty():
        raise Unanswered(f"{question}\nThere is no terminal to ask on", f"give {how} to say yes")
    sys.stderr.write(f"{question}\ny/[n]: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Declined
