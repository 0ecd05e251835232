"""Disks that are files: whether they are there, and as large as recorded.

Pure, but for ``read``, which asks the nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from gantry.model import timeouts
from gantry.model.disk_orders import DisksSeen, ReadDisks
from gantry.model.entities import Instance, Node
from gantry.model.errors import Unavailable
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.model.specs import DiskSpec
from gantry.operations.base import Examiner
from gantry.operations.steps import disks, specs
from gantry.operations.steps.finding import Finding

_MIB = 1024 * 1024


async def read(ask: Examiner, cluster: Snapshot) -> dict[Uuid, DisksSeen | Unavailable]:
    """What all nodes that are not offline say of their instances' disks, asked at once."""
    there = cluster.instances_by_node()
    nodes = [node for node in cluster.nodes.values() if not node.offline]
    answers = await asyncio.gather(
        *(_ask(ask, node, _files(there.get(node.uuid, []))) for node in nodes)
    )
    return dict(zip((node.uuid for node in nodes), answers, strict=True))


async def _ask(ask: Examiner, node: Node, wanted: tuple[DiskSpec, ...]) -> DisksSeen | Unavailable:
    if not wanted:
        return DisksSeen(disks=())
    try:
        return await ask.ask(node.uuid, ReadDisks(disks=wanted), timeouts.FAST)
    except Unavailable as error:
        return error


def _files(mine: list[Instance]) -> tuple[DiskSpec, ...]:
    return tuple(
        disk for one in mine if one.disk_template in disks.FILES for disk in specs.disks(one)
    )


def measured(
    cluster: Snapshot, answers: Mapping[Uuid, DisksSeen | Unavailable]
) -> Iterator[tuple[Instance, DiskSpec, int | None]]:
    """Instances' disks with their sizes in bytes, None for one that is lost."""
    found = {
        (node, disk.uuid): disk.size
        for node, said in answers.items()
        if isinstance(said, DisksSeen)
        for disk in said.disks
    }
    for one in cluster.instances.values():
        for disk in specs.disks(one):
            key = (one.primary_node, disk.uuid)
            if key in found:
                yield one, disk, found[key]


def findings(
    cluster: Snapshot, answers: Mapping[Uuid, DisksSeen | Unavailable]
) -> Iterator[Finding]:
    """What is wrong, each with what mends it."""
    for uuid, said in answers.items():
        if isinstance(said, Unavailable):
            name = cluster.nodes[uuid].name
            yield Finding(
                code="ENODERPC", kind="node", item=name, message=f"does not answer: {said}"
            )
    for one, disk, size in measured(cluster, answers):
        node = cluster.nodes[one.primary_node].name
        if size is None:
            yield _finding(
                one,
                "EINSTANCEMISSINGDISK",
                f"disk {disk.index} ({disk.path}) is lost on {node}: gnt-instance recreate-disks "
                f"{one.name} makes it anew, empty",
            )
        elif size != disk.size * _MIB:
            mend = "gnt-cluster repair" if size > disk.size * _MIB else "it needs a backup"
            yield _finding(
                one,
                "EINSTANCEFAULTYDISK",
                f"disk {disk.index} has {size // _MIB} MiB on {node}, and its record says "
                f"{disk.size}: {mend}",
            )


def _finding(one: Instance, code: str, message: str) -> Finding:
    return Finding(code=code, kind="instance", item=one.name, message=message)
