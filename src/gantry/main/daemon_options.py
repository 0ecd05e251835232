"""What the lines that start agent and master may say: ``--root DIR``, ``--ready-fd N``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class DaemonOptions(NamedTuple):
    """``ready``: a descriptor to which a line is written once the daemon serves."""

    root: Path
    ready: int | None


def daemon_options(arguments: Sequence[str], name: str, description: str) -> DaemonOptions:
    """The options of ``gantry NAME``; the root is ``--root``, else ``GANTRY_ROOT``, else ``/``.

    SystemExit after ``--help``, and where the line is wrong.
    """
    given = _plain(arguments)
    if given is None:
        given = _parsed(arguments, name, description)
    root = given.get("--root") or os.environ.get("GANTRY_ROOT") or "/"
    ready = given.get("--ready-fd")
    return DaemonOptions(Path(root).absolute(), None if ready is None else int(ready))


def _plain(arguments: Sequence[str]) -> dict[str, str] | None:
    """The options of a line as units and local clusters write it; None of any other.

    argparse is 0.4 MiB, which a daemon would keep for ever.
    """
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    plain = (
        2 * len(given) == len(arguments)
        and given.keys() <= {"--root", "--ready-fd"}
        and not any(value.startswith("-") for value in given.values())
        and given.get("--ready-fd", "0").isdecimal()
    )
    return given if plain else None


def _parsed(arguments: Sequence[str], name: str, description: str) -> dict[str, str]:
    import argparse

    parser = argparse.ArgumentParser(
        prog=f"gantry {name}",
        description=description,
        epilog=f"example: gantry {name} --root /",
    )
    parser.add_argument("--root", metavar="DIR", help="the node's root (default: /)")
    parser.add_argument("--ready-fd", type=int, metavar="N", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    found = {"--root": given.root, "--ready-fd": given.ready_fd}
    return {option: str(value) for option, value in found.items() if value is not None}
