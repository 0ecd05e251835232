"""Whole commands, from exec to exit, against an API on its real socket over a fake queue.

python benchmarks/cli_list.py [instances] [runs]
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.cluster import entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.model.entities import AdminState, Instance
from gantry.model.live import GuestLive, GuestState, NodeFacts, NodeLive
from gantry.model.names import Uuid

PROGRAM = "import sys; from gantry.main.gnt import main; raise SystemExit(main({!r}, sys.argv[1:]))"
LISTING = ("gnt-instance", "list")
COMMANDS: tuple[tuple[str, ...], ...] = (
    LISTING,
    ("gnt-instance", "list", "--json"),
    ("gnt-instance", "list", "-o", "name", "--no-headers"),
    ("gnt-instance", "list", "-F", 'status == "running"'),
    ("gnt-instance", "start", "web1"),
    ("gnt-instance", "list", "--help"),
)


def cluster(count: int) -> FakeQueue:
    """Three nodes on which ``count`` instances run; every job succeeds at once."""
    instances = [
        instance(number, number % 3 + 1, admin_state=AdminState.UP)
        for number in range(1, count + 1)
    ]
    lives = {
        node_uuid(number): NodeLive(
            reachable=True,
            facts=NodeFacts(memory_total=1 << 20),
            guests=_guests([one for one in instances if one.primary_node == node_uuid(number)]),
        )
        for number in (1, 2, 3)
    }
    queue = FakeQueue([*entities(3), *instances], lives)
    queue.at_once = True
    return queue


def _guests(instances: Sequence[Instance]) -> dict[Uuid, GuestLive]:
    return {
        one.uuid: GuestLive(uuid=one.uuid, name=one.name, state=GuestState.RUNNING, memory=128)
        for one in instances
    }


async def took(root: Path, *argv: str) -> float:
    """Milliseconds of one run of this Python with ``argv``; its output is read, as in a pipe."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        *argv,
        env={**os.environ, "GANTRY_ROOT": str(root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return (time.perf_counter() - began) * 1000


async def measure(root: Path, runs: int, *argv: str) -> str:
    """The median and the fastest of some runs, after a first that does not count."""
    await took(root, *argv)
    times = [await took(root, *argv) for _ in range(runs)]
    return f"{statistics.median(times):7.1f} ms   (fastest {min(times):.1f})"


async def main(instances: int, runs: int) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        root = Path(directory)
        socket = root / "run/gantry/master.sock"
        server = await Server.start(build(cluster(instances), FakeServices()), socket)
        print(f"{instances} instances, {runs} runs each, median of whole commands")
        print(f"{'the interpreter alone':50} {await measure(root, runs, '-c', 'pass')}")
        for program, *arguments in COMMANDS:
            shown = " ".join([program, *arguments])
            argv = ("-c", PROGRAM.format(program), *arguments)
            print(f"{shown:50} {await measure(root, runs, *argv)}")
        await server.close()


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    asyncio.run(main(*(given + [1000, 20][len(given) :])))
