"""A cluster of values for the tests of pure functions: three nodes, node1 is the master."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from tests.fakes.cluster import entities, instance, node_uuid

from gantry.hooks.plan import NodeRun
from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import Group, Instance, Node
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build

OTHER_GROUP = Group(uuid=Uuid("00000000-0000-4000-8000-000000000009"), name="other")
WEB = instance(1, node=2, secondary_nodes=(node_uuid(3),))
"""On node 2, and on node 3 beside."""


def snapshot(version: int = 1, instances: Iterable[Instance] = (WEB,), **cluster: Any) -> Snapshot:
    return build(1, [*entities(4, hooks_version=version, **cluster), *instances])


def changed(before: Snapshot, number: int, **changes: Any) -> Snapshot:
    """The cluster with node ``number`` changed."""
    node = msgspec.structs.replace(before.nodes[node_uuid(number)], **changes)
    return before.with_changes(2, [node])


def without(before: Snapshot, number: int) -> Snapshot:
    """The cluster without node ``number``."""
    return before.with_changes(2, [], [before.nodes[node_uuid(number)]])


def node(before: Snapshot, number: int) -> Node:
    return before.nodes[node_uuid(number)]


def about_web(**fields: Any) -> Subject:
    return Subject(kind=SubjectKind.INSTANCE, instance=WEB, **fields)


def where(runs: Iterable[NodeRun]) -> dict[int, list[str]]:
    """By the number of the node: ``directory/version`` of what it reads."""
    return {
        int(run.node[-2:]): [f"{one.name}/{one.version}" for one in run.directories] for run in runs
    }
