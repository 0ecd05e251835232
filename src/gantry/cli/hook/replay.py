"""``gnt-hook replay``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import errors
from gantry.cli.hook import recordings, trying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """
gnt-hook replay run.json --script ./20-check
gnt-hook replay job-17.json --script ./20-check --phase pre
gnt-hook replay - --script ./20-check         (what gnt-hook record 5c1f writes)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What was recorded, and which script."""
    parser.add_argument("file", metavar="FILE", help="of gnt-hook record; - is standard input")
    parser.add_argument(
        "--script", required=True, metavar="SCRIPT", help="the script to run, such as a new version"
    )
    parser.add_argument("--phase", metavar="PHASE", help="only the recorded runs of this phase")
    parser.add_argument("-n", "--node", metavar="NODE", help="only those of this node")
    trying.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Once for each phase and node that is recorded; 1 where it was not content with each."""
    found = []
    for one in _different(_chosen(arguments)):
        said = trying.attempt(arguments, one.order, one.phase)
        found.append({"node": one.node, "recorded": one.script, **said})
    if arguments.json:
        trying.as_json(found)
    else:
        for number, said in enumerate(found):
            sys.stdout.write("\n" * bool(number) + f"as on {said['node']}: {said['recorded']}\n")
            trying.show(said)
    return trying.status(found)


def _chosen(arguments: argparse.Namespace) -> list[recordings.Recorded]:
    found = [
        one
        for one in recordings.read(arguments.file)
        if arguments.phase in (None, one.phase)
        and (arguments.node is None or _is(one.node, arguments.node))
    ]
    if not found:
        raise errors.Usage(f"no run in {arguments.file} is of that phase and node")
    return found


def _is(node: str, wanted: str) -> bool:
    return node == wanted or node.startswith(f"{wanted}.")


def _different(runs: Sequence[recordings.Recorded]) -> list[recordings.Recorded]:
    """Scripts of one directory were told the same: one of them stands for all."""
    found: dict[tuple[str, str, int, int], recordings.Recorded] = {}
    for one in runs:
        directory = one.script.rpartition("/")[0]
        found.setdefault((one.node, directory, one.version, one.order.attempt), one)
    return list(found.values())
