"""The programs ``gnt-*``: all are clients of the API but ``gnt-cluster init``."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.cli import program as programs


def main(program: str, argv: Sequence[str]) -> int:
    """Run ``program`` with ``argv``; the exit status."""
    if program == "gnt-cluster" and argv[:1] == ["init"]:
        from gantry.main import init

        return init.main(argv[1:])
    return programs.main(program, argv)
