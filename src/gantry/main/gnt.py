"""The programs ``gnt-*``: all are clients of the API but ``gnt-cluster init``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(program: str, argv: Sequence[str]) -> int:
    """Run ``program`` with ``argv``; the exit status."""
    # Names and logs may have characters that this terminal cannot show.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if program == "gnt-cluster" and argv[:1] == ["init"]:
            from gantry.main import init

            return init.main(argv[1:])
        from gantry.cli import program as programs

        return programs.main(program, argv)
    except KeyboardInterrupt:
        return 130
