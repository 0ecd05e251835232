"""What can be mended without losing anything, out of what nodes say. Pure.

Each repair is an operation of its own, with its own checks, made when its turn has come: what is
found here may be over by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gantry.model.disk_orders import DisksSeen
from gantry.model.errors import Unavailable
from gantry.model.names import Uuid
from gantry.model.orders import Inspection
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import candidates, measuring, moving

_MIB = 1024 * 1024


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """``what`` is wrong and what is done about it; ``operation`` does it."""

    what: str
    operation: dict[str, Any]


def repairs(
    cluster: Snapshot,
    seen: Mapping[Uuid, Inspection | Unavailable],
    sizes: Mapping[Uuid, DisksSeen | Unavailable],
) -> list[Repair]:
    """All that are safe, records first."""
    found = [*_records(cluster, seen), *_remains(cluster, seen)]
    return [*found, *_candidates(cluster), *_sizes(cluster, sizes)]


def _records(cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable]) -> Iterator[Repair]:
    """Of instances that run on one node, and are recorded on another one that says it does not."""
    running: dict[Uuid, list[Uuid]] = {}
    for node, said in seen.items():
        if isinstance(said, Inspection):
            for guest in said.guests:
                if guest.up:
                    running.setdefault(guest.uuid, []).append(node)
    for one in cluster.instances.values():
        where = running.get(one.uuid, [])
        heard = isinstance(seen.get(one.primary_node), Inspection)
        if len(where) == 1 and where[0] != one.primary_node and heard and moving.shared(one):
            here, there = cluster.nodes[where[0]].name, cluster.nodes[one.primary_node].name
            yield Repair(
                what=f"{one.name} runs on {here}, and its record says {there}: it is put right",
                operation={
                    "OP_ID": "OP_INSTANCE_FAILOVER",
                    "instance_name": one.name,
                    "cleanup": True,
                },
            )


def _remains(cluster: Snapshot, seen: Mapping[Uuid, Inspection | Unavailable]) -> Iterator[Repair]:
    """Records that nodes keep of guests that ended, and that belong to no instance."""
    for uuid, said in seen.items():
        node = cluster.nodes[uuid].name
        for guest in said.guests if isinstance(said, Inspection) else ():
            if guest.uuid not in cluster.instances and not guest.up:
                yield Repair(
                    what=f"{node} keeps a record of {guest.name}, which ended and is no instance: "
                    "it is forgotten",
                    operation={
                        "OP_ID": "OP_NODE_END_GUEST",
                        "node_name": node,
                        "guest": guest.uuid,
                    },
                )


def _candidates(cluster: Snapshot) -> Iterator[Repair]:
    for node in candidates.promotable(cluster):
        yield Repair(
            what=f"there are too few master candidates: {node.name} becomes one",
            operation={
                "OP_ID": "OP_NODE_SET_PARAMS",
                "node_name": node.name,
                "master_candidate": True,
            },
        )


def _sizes(cluster: Snapshot, sizes: Mapping[Uuid, DisksSeen | Unavailable]) -> Iterator[Repair]:
    """Disks that grew, and whose record does not say so yet."""
    for one, disk, real in measuring.measured(cluster, sizes):
        if real is not None and real // _MIB > disk.size:
            yield Repair(
                what=f"disk {disk.index} of {one.name} has {real // _MIB} MiB, and its record says "
                f"{disk.size}: it is put right",
                operation={
                    "OP_ID": "OP_INSTANCE_GROW_DISK",
                    "instance_name": one.name,
                    "disk": disk.index,
                    "amount": real // _MIB,
                    "absolute": True,
                },
            )
