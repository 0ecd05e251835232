"""The arguments of ``gantry local``, and which function does what they ask for."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gantry.local.progress import Progress
from gantry.model.errors import Rejected

_EXAMPLES = """examples:
  gantry local up --nodes 3 --dir /tmp/gantry
  gantry local up --nodes 3 --store etcd --dir /tmp/gantry
  gantry local up --simulated-nodes 100 --dir /tmp/large
  eval "$(gantry local env --dir /tmp/gantry)"
  gnt-instance add -t file -s 256M -o busybox --net 0:mode=user web1.gantry.test
  gantry local status --dir /tmp/gantry --json
  gantry local down --dir /tmp/gantry
"""


def default_directory() -> Path:
    """Where the cluster is that nobody gave a directory for."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(state) / "gantry" / "cluster"


def main(arguments: Sequence[str]) -> int:
    """Carry out one ``gantry local`` command; the exit status. GantryError passes through."""
    given = parser().parse_args(arguments)
    result: int = asyncio.run(given.function(given))
    return result


def parser() -> argparse.ArgumentParser:
    """All sub-commands."""
    top = argparse.ArgumentParser(
        prog="gantry local",
        description="A real cluster on this one machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _up(_command(commands, "up", _do_up, "make a cluster, or bring one up again"))
    down = _command(commands, "down", _do_down, "shut the guests down and end all processes")
    down.add_argument("--keep-guests", action="store_true", help="leave the guests running")
    status = _command(commands, "status", _do_status, "show what runs; status 1 if not all is up")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    _command(commands, "env", _do_env, 'print lines for eval "$(…)"')
    _command(commands, "add-node", _do_add_node, "let one more node join")
    demo = _command(commands, "demo", _do_demo, "show it all in two minutes, then take it down")
    demo.set_defaults(dir=None)
    demo.add_argument("--keep", action="store_true", help="leave the cluster up at the end")
    demo.add_argument("--fake", action="store_true", help=argparse.SUPPRESS)
    return top


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    function: object,
    text: str,
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=text, description=text)
    added.add_argument(
        "--dir",
        type=Path,
        default=default_directory(),
        help="the cluster's directory (default: %(default)s)",
    )
    added.set_defaults(function=function)
    return added


def _up(command: argparse.ArgumentParser) -> None:
    command.add_argument("--nodes", type=int, help="how many (default: 3, or those there are)")
    command.add_argument(
        "--simulated-nodes",
        type=int,
        metavar="N",
        help="as many more, whose agents share few processes and run guests of hypervisor fake",
    )
    command.add_argument(
        "--hypervisors", help="comma-separated (default: kvm,fake; with simulated nodes: fake)"
    )
    command.add_argument(
        "--store",
        choices=("sqlite", "etcd"),
        help="what keeps the state: a file (the default), or three members of etcd",
    )
    command.add_argument(
        "--no-kernel",
        action="store_true",
        help="fetch no kernel for guests of OS busybox",
    )
    command.add_argument(
        "--hooks-version",
        type=int,
        choices=(1, 2),
        default=1,
        help="the hook interface of a new cluster (default: %(default)s)",
    )


def _hypervisors(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in ("kvm", "fake")]
    if unknown:
        raise Rejected(
            f"{unknown[0]!r} is no hypervisor", "--hypervisors takes kvm, fake, or kvm,fake"
        )
    return names


async def _do_up(given: argparse.Namespace) -> int:
    from gantry.local.up import Wishes, counted, up

    hypervisors = _hypervisors(given.hypervisors)
    wishes = Wishes(
        nodes=given.nodes,
        simulated=given.simulated_nodes,
        hypervisors=hypervisors,
        store=given.store,
        kernel=not given.no_kernel,
        hooks_version=given.hooks_version,
    )
    progress = Progress(sys.stderr)
    cluster = await up(given.dir, wishes, progress)
    count = "1 node" if len(cluster.about.nodes) == 1 else f"{len(cluster.about.nodes)} nodes"
    if cluster.about.simulated:
        count += f" and {counted(len(cluster.about.simulated))}"
    progress.say(
        f"the cluster is up: {count}, addresses from {cluster.about.block}.1 on\n"
        f'to use it:  eval "$(gantry local env --dir {cluster.layout.directory})"'
    )
    return 0


async def _do_down(given: argparse.Namespace) -> int:
    from gantry.local.down import down

    progress = Progress(sys.stderr)
    await down(given.dir, given.keep_guests, progress)
    progress.say("the cluster is down" + (", its guests run on" if given.keep_guests else ""))
    return 0


async def _do_status(given: argparse.Namespace) -> int:
    from gantry.local.status import status, table

    found = await status(given.dir)
    text = msgspec.json.encode(found).decode() if given.json else table(found)
    sys.stdout.write(text + "\n")
    return 0 if found.up else 1


async def _do_env(given: argparse.Namespace) -> int:
    from gantry.local.status import environment

    sys.stdout.write(environment(given.dir))
    return 0


async def _do_add_node(given: argparse.Namespace) -> int:
    from gantry.local.up import add_node

    progress = Progress(sys.stderr)
    node = await add_node(given.dir, progress)
    progress.say(f"{node.name} is a node of the cluster")
    return 0


async def _do_demo(given: argparse.Namespace) -> int:
    from gantry.local.demo.show import demo

    return await demo(given.dir, keep=given.keep, fake=given.fake)
