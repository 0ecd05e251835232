"""The program ``gantry``: finds the sub-command and loads only what that one needs.

A sub-command is a module with ``main(arguments) -> exit status``; it raises GantryError for
what a user is to be told. No sub-command is written here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Final

from gantry.model.errors import GantryError, Rejected

COMMANDS: Final = {
    "agent": ("gantry.main.agent", "run this node's agent"),
    "master": ("gantry.main.standby", "run the master, or wait to be it"),
    "simulate": ("gantry.main.simulation", "run the agents of simulated nodes (see local up)"),
    "token": ("gantry.main.token", "let a machine join once, within the hour"),
    "join": ("gantry.main.join", "join a cluster with a token on standard input"),
    "state": ("gantry.main.state", "copy the cluster's state, or bring it back"),
    "renew-certificates": ("gantry.main.renew", "give certificates a new term"),
    "local": ("gantry.local.command", "a cluster on this one machine"),
    "completion": ("gantry.main.completion", "the shell's completion of all commands"),
}


def usage() -> str:
    """What ``gantry --help`` says."""
    lines = [f"  {name:<18} {text}" for name, (_, text) in COMMANDS.items()]
    return (
        "usage: gantry COMMAND [ARGUMENT …]\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n"
        "gantry COMMAND --help tells more. The cluster itself is managed with the programs\n"
        "gnt-cluster, gnt-node, gnt-instance, gnt-backup, gnt-os and gnt-job.\n"
        "example: gantry local up --nodes 3 --dir /tmp/gantry\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; the exit status (0; 1 failed; 2 wrong use; 130 interrupted)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--help"], ["-h"], ["help"]):
        sys.stdout.write(usage())
        return 0
    if given[:1] == ["--version"]:
        from importlib.metadata import version

        sys.stdout.write(f"gantry {version('gantry-cluster')}\n")
        return 0
    if not given or given[0] not in COMMANDS:
        wrong = f"gantry: unknown command {given[0]!r}\n" if given else ""
        sys.stderr.write(wrong + usage())
        return 2
    module = importlib.import_module(COMMANDS[given[0]][0])
    try:
        status: int = module.main(given[1:])
        return status
    except GantryError as error:
        sys.stderr.write(told(error))
        return 2 if isinstance(error, Rejected) and error.reason == "wrong_input" else 1
    except KeyboardInterrupt:
        sys.stderr.write("\ngantry: interrupted\n")
        return 130


def told(error: GantryError) -> str:
    """An error as lines for a user."""
    where = f" (node {error.node})" if error.node else ""
    hint = f"  {error.hint}\n" if error.hint else ""
    return f"gantry: {error.message}{where}\n{hint}"


if __name__ == "__main__":
    raise SystemExit(main())
