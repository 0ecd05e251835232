"""How everything grows with instances and with nodes: a table and a plot.

    .venv/bin/python -m benchmarks.growth [--instances 100 1000 10000] [--nodes 3 30 100] [--write]

One node is real, with the master; the others are simulated. Instances are made by jobs over the
API, twenty clients at a time, as fast as it goes; the operations that are measured too. With
``--write`` table and plot go into docs/performance.md and docs/growth.svg. ``--keep FILE`` writes
what was measured as JSON, ``--from FILE`` shows it again. Takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from benchmarks import page
from benchmarks.all import machine
from benchmarks.figures import command, number
from benchmarks.local_cluster import Client, LocalCluster, cluster, cpu, idle, resident
from benchmarks.plot import Panel, Series, svg

from gantry.local import processes
from gantry.local.layout import Role

CLIENTS = 20
SAMPLE = 200
"""Operations of each kind that are measured."""
FIXED_INSTANCES = 1_000
IDLE = 15.0
"""Seconds of doing nothing, over which the master's CPU is counted."""
PLOT = Path(__file__).parents[1] / "docs/growth.svg"
MARK = "growth"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One size: milliseconds an operation (20 at a time), a command; MiB; % of a core; seconds."""

    nodes: int
    instances: int
    add: float
    add_cpu: float
    """The master's CPU time an addition."""
    start: float
    stop: float
    list: float
    verify: float
    memory: float
    idle: float
    restart: float


def added(name: str) -> dict[str, Any]:
    """The operation that makes an instance; the node is chosen by the master."""
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "diskless",
        "disks": [],
        "nics": [{}],
        "os_type": "noop",
        "hypervisor": "fake",
        "beparams": {"maxmem": 16, "minmem": 16, "vcpus": 1},
    }


def name_of(index: int) -> str:
    """The name of an instance."""
    return f"inst{index}.gantry.test"


async def run_all(where: LocalCluster, operations: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Milliseconds an operation with twenty clients, and of the master's CPU."""
    clients = [await Client.open(where) for _ in range(CLIENTS)]
    waiting = enumerate(operations)

    async def work(client: Client) -> None:
        for index, operation in waiting:
            await client.job(operation, f"growth-{time.time_ns()}-{index}")

    before, began = cpu(where.master), time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    took, spent = time.perf_counter() - began, cpu(where.master) - before
    for client in clients:
        client.close()
    count = len(operations)
    return 1000 * took / count, 1000 * spent / count


def fill(where: LocalCluster, have: int, wanted: int) -> tuple[float, float]:
    """Add instances up to ``wanted``; what the last of them took each."""
    sample = min(SAMPLE, wanted - have)
    names = [name_of(index) for index in range(have, wanted)]
    if names[:-sample]:
        asyncio.run(run_all(where, [added(name) for name in names[:-sample]]))
    return asyncio.run(run_all(where, [added(name) for name in names[-sample:]]))


def each(where: LocalCluster, code: str, count: int) -> float:
    """Milliseconds of an operation on instances, spread over all."""
    step = max(1, count // SAMPLE)
    names = [name_of(index) for index in range(0, count, step)][:SAMPLE]
    operations = [{"OP_ID": code, "instance_name": name} for name in names]
    return asyncio.run(run_all(where, operations))[0]


async def restarted(where: LocalCluster) -> float:
    """Seconds from the start of a new master until it serves, all nodes heard of."""
    node = where.about.nodes[where.place]
    await processes.stop(where.layout, node, Role.MASTER)
    began = time.perf_counter()
    await processes.start(where.layout, node, Role.MASTER)
    return time.perf_counter() - began


def measure(where: LocalCluster, nodes: int, have: int, wanted: int) -> Point:
    """Bring the cluster to that size and measure everything."""
    add, add_cpu = fill(where, have, wanted)
    stop = each(where, "OP_INSTANCE_SHUTDOWN", wanted)
    start = each(where, "OP_INSTANCE_STARTUP", wanted)

    def whole(*argv: str) -> float:
        words = [where.program(argv[0]), *argv[1:]]
        return statistics.median(command(words, where.environment) for _ in range(5))

    found = Point(
        nodes=nodes,
        instances=wanted,
        add=add,
        add_cpu=add_cpu,
        start=start,
        stop=stop,
        list=whole("gnt-instance", "list"),
        verify=whole("gnt-cluster", "verify"),
        memory=resident(where.master),
        restart=asyncio.run(restarted(where)),
        idle=idle(where, IDLE),
    )
    sys.stderr.write(f"{found}\n")
    return found


def measure_all(instances: Sequence[int], nodes: Sequence[int]) -> list[Point]:
    """Both series; the size that they share is measured once."""
    found: list[Point] = []
    most = max(nodes)
    with cluster(nodes=1, simulated=most - 1) as where:
        have = 0
        for wanted in sorted({*instances, FIXED_INSTANCES}):
            found.append(measure(where, most, have, wanted))
            have = wanted
    for count in sorted(set(nodes) - {most}):
        with cluster(nodes=1, simulated=count - 1) as where:
            found.append(measure(where, count, 0, FIXED_INSTANCES))
    return sorted(found, key=lambda one: (one.nodes, one.instances))


COLUMNS: dict[str, Callable[[Point], str]] = {
    "nodes": lambda one: str(one.nodes),
    "instances": lambda one: f"{one.instances:,}",
    "add, ms": lambda one: number(one.add),
    "… master's CPU": lambda one: number(one.add_cpu),
    "start, ms": lambda one: number(one.start),
    "stop, ms": lambda one: number(one.stop),
    "list, ms": lambda one: number(one.list),
    "verify, ms": lambda one: number(one.verify),
    "master, MiB": lambda one: number(one.memory),
    "idle, % of a core": lambda one: number(one.idle),
    "restart, s": lambda one: number(one.restart),
}


def table(points: Sequence[Point]) -> str:
    """In Markdown."""
    rows = [list(COLUMNS), ["---:"] * len(COLUMNS)]
    rows += [[show(one) for show in COLUMNS.values()] for one in points]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def plot(points: Sequence[Point]) -> str:
    """Times and memory, over instances and over nodes."""
    most = max(one.nodes for one in points)
    by_instances = [one for one in points if one.nodes == most]
    by_nodes = [one for one in points if one.instances == FIXED_INSTANCES]
    return svg(
        [
            *_panels(f"instances, on {most} nodes", [(one.instances, one) for one in by_instances]),
            *_panels(
                f"nodes, with {FIXED_INSTANCES:,} instances", [(one.nodes, one) for one in by_nodes]
            ),
        ]
    )


def _panels(across: str, points: Sequence[tuple[int, Point]]) -> list[Panel]:
    times = ("add", "start", "stop", "list", "verify")
    lines = [Series(name, [(size, getattr(one, name)) for size, one in points]) for name in times]
    others = [
        Series("memory, MiB", [(size, one.memory) for size, one in points]),
        Series("restart, s", [(size, one.restart) for size, one in points]),
        # Logarithms know no nothing.
        Series("idle, %", [(size, max(one.idle, 0.01)) for size, one in points]),
    ]
    return [
        Panel("milliseconds: an operation, a command", across, lines),
        Panel("the master", across, others),
    ]


def write(points: Sequence[Point], where: str) -> None:
    """Into the documentation, between its marks."""
    text = f"{table(points)}\n\n{where}\n\n![growth]({PLOT.name})"
    page.PAGE.write_text(page.replaced(page.PAGE.read_text(), MARK, text))
    PLOT.write_text(plot(points))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--nodes", type=int, nargs="+", default=[3, 30, 100])
    parser.add_argument("--write", action="store_true", help="into docs/")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the points as JSON")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE")
    given = parser.parse_args()
    where = machine()
    if given.source is not None:
        where, points = msgspec.json.decode(given.source.read_bytes(), type=tuple[str, list[Point]])
    else:
        points = measure_all(given.instances, given.nodes)
    if given.keep is not None:
        given.keep.write_bytes(msgspec.json.encode((where, points)))
    print(f"{table(points)}\n\n{where}")
    if given.write:
        write(points, where)


if __name__ == "__main__":
    main()
