"""A cluster as a value, with nodes that answer, and draws that repeat."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec
from tests.fakes.cluster import entities, instance, instance_uuid, node_uuid
from tests.fakes.world import NOOP

from gantry.model.entities import AnyEntity, Cluster, Instance
from gantry.model.live import GuestLive, GuestState, HypervisorFacts, NodeFacts, NodeLive, OsFacts
from gantry.model.names import Uuid
from gantry.model.snapshot import Claim, Snapshot, build
from gantry.operations import registry

NODE1, NODE2, NODE3 = (node_uuid(number) for number in (1, 2, 3))
WEB1 = instance_uuid(1)
ADD: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new.example.com",
    "os_type": "noop",
    "disk_template": "diskless",
}
FILE: dict[str, Any] = {**ADD, "disk_template": "file", "disks": [{"size": 128}]}


class Given:
    """Draws in a fixed order; ``tails`` are the first random bytes."""

    def __init__(self, *tails: bytes) -> None:
        self._numbers = itertools.count(1)
        self._tails = list(tails)
        self.now = 5000.0
        self.requester = "operator"

    def uuid(self) -> Uuid:
        """One after the other."""
        return Uuid(f"10000000-0000-4000-8000-{next(self._numbers):012d}")

    def random_bytes(self, count: int) -> bytes:
        """One after the other."""
        if self._tails:
            return self._tails.pop(0)
        return next(self._numbers).to_bytes(count, "big")


def facts(oses: tuple[OsFacts, ...] = (NOOP,), **changes: Any) -> NodeFacts:
    """A node with 4 GiB of memory, 100 GiB of disk and the fake hypervisor."""
    fields: dict[str, Any] = {
        "memory_total": 4096,
        "disk_total": 204800,
        "disk_free": 102400,
        "cpus": 8,
        "hypervisors": {"fake": HypervisorFacts(available=True, machine="fake-1.0")},
        "oses": oses,
        "version": "test",
        **changes,
    }
    return NodeFacts(**fields)


def up(number: int = 1, state: GuestState = GuestState.RUNNING) -> dict[Uuid, GuestLive]:
    """The guest of an instance, as its node says it."""
    uuid = instance_uuid(number)
    return {uuid: GuestLive(uuid=uuid, name=f"web{number}.example.com", state=state, memory=128)}


def live(said: NodeFacts | None = None, guests: Mapping[Uuid, GuestLive] | None = None) -> NodeLive:
    """A node that answers."""
    return NodeLive(reachable=True, facts=said or facts(), guests=guests or {})


def snapshot(
    *more: AnyEntity,
    nodes: Mapping[Uuid, NodeLive] | None = None,
    change: Mapping[Uuid, Mapping[str, Any]] | None = None,
    claims: tuple[Claim, ...] = (),
    reserved: frozenset[str] = frozenset(),
    **cluster: Any,
) -> Snapshot:
    """Three nodes that answer, web1 (down), and ``more``; ``change`` are fields of nodes."""
    made = [*entities(3, **cluster), instance(1), *more]
    made = [msgspec.structs.replace(one, **(change or {}).get(one.uuid, {})) for one in made]
    answers = {uuid: live() for uuid in (NODE1, NODE2, NODE3)} | dict(nodes or {})
    whole = build(1, made, answers)
    return msgspec.structs.replace(whole, claims=claims, reserved=reserved)


def check(cluster: Snapshot, op: Mapping[str, Any], given: Given | None = None) -> Any:
    """What the runner does first: load, needs, check."""
    operation = registry.load(op)
    operation.needs(cluster)
    return operation.check(cluster, given or Given())


def settings(cluster: Snapshot, **changes: Any) -> Cluster:
    """The cluster's own entity, changed."""
    changed: Cluster = msgspec.structs.replace(cluster.cluster, **changes)
    return changed


def web(number: int = 1, **changes: Any) -> Instance:
    """An instance."""
    return instance(number, **changes)
