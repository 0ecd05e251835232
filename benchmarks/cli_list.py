"""Whole-command time of ``gnt-instance list``: process start to end, beside the bare interpreter.

    .venv/bin/python -m benchmarks.cli_list [--runs 20]

A real API server on a Unix socket (a process of its own, over a fake job queue) answers for
1,000 and 10,000 instances. Medians in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from tests.fakes.cluster import entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.model.entities import AdminState
from gantry.model.live import GuestLive, GuestState, NodeLive

SIZES = (1_000, 10_000)
COMMAND = """#!{python} -I
import sys
from gantry.main.gnt import main
raise SystemExit(main("gnt-instance", sys.argv[1:]))
"""


def queue(count: int) -> FakeQueue:
    """``count`` running instances on three nodes."""
    found = [instance(n, n % 3 + 1, admin_state=AdminState.UP) for n in range(1, count + 1)]
    lives = {
        node_uuid(number): NodeLive(
            reachable=True,
            guests={
                one.uuid: GuestLive(
                    uuid=one.uuid, name=one.name, state=GuestState.RUNNING, memory=128, vcpus=1
                )
                for one in found
                if one.primary_node == node_uuid(number)
            },
        )
        for number in (1, 2, 3)
    }
    return FakeQueue([*entities(3), *found], lives)


def serve(root: Path, count: int, ready: Event, over: Event) -> None:
    """The API of ``count`` instances, until ``over``."""

    async def run() -> None:
        path = root / "run/gantry/master.sock"
        server = await Server.start(build(queue(count), FakeServices()), path)
        ready.set()
        await asyncio.to_thread(over.wait)
        await server.close()

    asyncio.run(run())


def median(argv: list[str], runs: int) -> float:
    """Milliseconds of a whole run of ``argv``, after two runs that warm up."""
    taken = []
    for _ in range(runs + 2):
        begin = time.perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[2:]) * 1000


def measure(count: int, runs: int) -> tuple[float, float]:
    """The table and the JSON of ``count`` instances, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as name:
        root = Path(name)
        script = root / "gnt-instance"
        script.write_text(COMMAND.format(python=sys.executable))
        script.chmod(0o755)
        os.environ["GANTRY_ROOT"] = name
        context = multiprocessing.get_context("spawn")
        ready, over = context.Event(), context.Event()
        server = context.Process(target=serve, args=(root, count, ready, over))
        server.start()
        try:
            assert ready.wait(60), "the API did not start"
            table = median([str(script), "list"], runs)
            return table, median([str(script), "list", "--json"], runs)
        finally:
            over.set()
            server.join(10)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    bare = median([sys.executable, "-I", "-c", "pass"], runs)
    print(f"| what | median of {runs} | beyond the interpreter |\n|---|---|---|")
    print(f"| interpreter alone | {bare:.0f} ms | |")
    for count in SIZES:
        for what, taken in zip(("list", "list --json"), measure(count, runs), strict=True):
            name = f"gnt-instance {what}, {count:,} instances"
            print(f"| {name} | {taken:.0f} ms | {taken - bare:.0f} ms |")


if __name__ == "__main__":
    main()
