"""``gantry local down``: guests in an orderly way, then the daemons; no process stays behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from gantry.local import description, etcd, processes
from gantry.local.description import LocalNode
from gantry.local.layout import Layout, Role
from gantry.local.processes import end, find, guests
from gantry.local.progress import Progress
from gantry.local.up import Cluster, maintain
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed

AT_ONCE: Final = 1000
"""Guests that are shut down by one command: each is a job, and a queue has its limit."""
GUEST_SHUTDOWN: Final = 30
"""Seconds that a guest has to shut down before it is powered off."""


async def down(directory: Path, keep_guests: bool, progress: Progress) -> None:
    """Take the cluster down. What should be up stays marked so, for the next ``up``."""
    layout = Layout(directory)
    about = description.required(layout.directory)
    with layout.locked():
        cluster = Cluster(layout, about, progress)
        if not keep_guests and about.initialised:
            await _stop_guests(cluster)
        async with progress.step("stopping the masters and the agents"):
            # All at once, so that none of them takes over from another.
            await asyncio.gather(
                *(processes.stop(layout, node, Role.MASTER) for node in about.nodes)
            )
            await asyncio.gather(
                *(processes.stop(layout, node, Role.AGENT) for node in about.nodes),
                *(processes.stop(layout, crew, Role.SIMULATE) for crew in about.crews),
            )
            await etcd.stop(layout, about)
            if not keep_guests:
                await asyncio.gather(*(end(which) for which in guests(layout)))
        _check(layout, (*about.nodes, *about.crews, *about.store_members), keep_guests)
        for node in about.nodes:
            _remove_sockets(layout.root(node) / "run/gantry", keep_guests)


async def _stop_guests(cluster: Cluster) -> None:
    """By jobs, with their hooks. Where the master cannot be asked, guests are ended later."""
    about = cluster.about
    if not await processes.has_master(cluster.layout, about.nodes):
        if guests(cluster.layout):
            cluster.progress.say("the master does not run: guests are stopped without their hooks")
        return
    operator = cluster.operator()
    try:
        rows = await operator.rows("gnt-instance", "list", "-o", "name,oper_state")
        running = [str(row["name"]) for row in rows if row["oper_state"]]
        if not running:
            return
        count = "1 guest" if len(running) == 1 else f"{len(running)} guests"
        async with cluster.progress.step(f"shutting down {count}"):
            cluster.note(msgspec.structs.replace(about, resting=True))
            await maintain(operator, False)
            for first in range(0, len(running), AT_ONCE):
                await operator.run(
                    "gnt-instance",
                    "shutdown",
                    "--no-remember",
                    "--force-multiple",
                    f"--timeout={GUEST_SHUTDOWN}",
                    *running[first : first + AT_ONCE],
                    timeout=timeouts.NORMAL,
                )
    except GantryError as error:
        cluster.progress.say(f"not all guests could be shut down by jobs: {error}")


def _check(layout: Layout, nodes: tuple[LocalNode, ...], keep_guests: bool) -> None:
    left = [
        f"the {role} of {node.label} (process {which.pid})"
        for node in nodes
        for role in Role
        if (which := find(layout, node, role)) is not None
    ]
    if not keep_guests:
        left += [f"a guest (process {which.pid})" for which in guests(layout)]
    if left:
        raise OperationFailed(
            f"still running: {', '.join(left)}",
            f"see the logs below {layout.directory}, and repeat gantry local down",
        )


def _remove_sockets(directory: Path, keep_guests: bool) -> None:
    if keep_guests or not directory.is_dir():
        return
    for path in directory.rglob("*"):
        if path.is_socket():
            path.unlink(missing_ok=True)
