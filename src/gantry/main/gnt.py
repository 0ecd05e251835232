"""The programs ``gnt-*``: all are clients of the API but ``gnt-cluster init``,
and ``gnt-cluster master-failover --from-copy``.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn

    from gantry.cli.hook.bench import Bench
    from gantry.cli.os.bench import OsBench

_GARBAGE: Final = 50_000
"""Objects between two looks for circular garbage: no look at all in a usual command."""


def run(program: str) -> NoReturn:
    """The whole process of an installed script. It ends without taking the interpreter apart,
    which takes as long as a tenth of a short command; nothing in a client is left to be closed.
    """
    gc.set_threshold(_GARBAGE)
    status = main(program, sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Who read it has left; what that means was decided where it was written.
        raise SystemExit(status) from None
    os._exit(status)


def main(program: str, argv: Sequence[str]) -> int:
    """Run ``program`` with ``argv``; the exit status."""
    if sys.stdout is None or sys.stderr is None:
        _open_what_is_closed()
    # Names and logs may have characters that this terminal cannot show.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if program == "gnt-cluster" and argv[:1] == ["init"]:
            from gantry.main import init

            return init.main(argv[1:])
        if program == "gnt-cluster" and "--from-copy" in argv and argv[0].startswith("master"):
            from gantry.main import failover

            return failover.main(argv[1:])
        from gantry.cli import program as programs

        return programs.main(program, argv, _os_bench if program == "gnt-os" else _bench)
    except KeyboardInterrupt:
        return 130


def _bench() -> Bench:
    """Loaded only by a command that asks for it."""
    from gantry.main.bench import LocalBench

    return LocalBench()


def _os_bench() -> OsBench:
    """The same for gnt-os."""
    from gantry.main.os_bench import LocalOsBench

    return LocalOsBench()


def _open_what_is_closed() -> None:
    """Who closed an output does not want it; writing to it is no error."""
    nowhere = open(os.devnull, "w")  # noqa: SIM115, PTH123 - open until the process ends
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
