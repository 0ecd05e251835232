"""The cluster as listings see it: a snapshot with the indexes that fields need, made once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final

from gantry.model.entities import Group, Instance, Node
from gantry.model.live import UNKNOWN, GuestLive, NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

_DIGITS: Final = re.compile(r"\d+")


@lru_cache(maxsize=65536)
def natural(name: str) -> str:
    """A sort key by which web2 comes before web10."""
    return _DIGITS.sub(lambda found: found[0].zfill(20), name)


class View:
    """Over one snapshot; ``archived`` are jobs that are asked for beside the present ones."""

    def __init__(self, cluster: Snapshot, before: View | None = None) -> None:
        self.cluster = cluster
        self._before = before

    def shows(self, cluster: Snapshot) -> bool:
        """Whether a view of ``cluster`` would be the same."""
        mine = self.cluster
        return cluster is mine or (
            cluster.instances is mine.instances
            and cluster.mirrors is mine.mirrors
            and cluster.live is mine.live
            and cluster.nodes is mine.nodes
            and cluster.groups is mine.groups
            and cluster.cluster is mine.cluster
        )

    def same_frame(self, other: View | None) -> bool:
        """Whether what all rows of instances depend on is the same in both."""
        return (
            other is not None
            and other.cluster.nodes is self.cluster.nodes
            and other.cluster.groups is self.cluster.groups
            and other.cluster.cluster is self.cluster.cluster
        )

    def node(self, uuid: Uuid) -> Node | None:
        """A node, which may be gone from a snapshot only by a bug; None then."""
        return self.cluster.nodes.get(uuid)

    def node_name(self, uuid: Uuid) -> str:
        """Its name, or its uuid where it is not known."""
        node = self.cluster.nodes.get(uuid)
        return node.name if node else uuid

    def group_of(self, uuid: Uuid) -> Group | None:
        """The group of a node."""
        node = self.cluster.nodes.get(uuid)
        return self.cluster.groups.get(node.group) if node else None

    def live(self, uuid: Uuid) -> NodeLive:
        """The live state of a node."""
        return self.cluster.live.get(uuid, UNKNOWN)

    @cached_property
    def ordered(self) -> Sequence[Instance]:
        """All instances in natural order of their names."""
        instances, names = self.cluster.instances, self.cluster.instance_names
        before, self._before = self._before, None
        if before is not None and before.cluster.instance_names == names:
            return [instances[one.uuid] for one in before.ordered]
        return [instances[names[name]] for name in sorted(names, key=natural)]

    @cached_property
    def elsewhere(self) -> Mapping[Uuid, tuple[Uuid, GuestLive]]:
        """Guests that are up on a node that is not their primary: node and guest, by instance."""
        found: dict[Uuid, tuple[Uuid, GuestLive]] = {}
        instances = self.cluster.instances
        for node, live in self.cluster.live.items():
            for uuid, guest in live.guests.items():
                instance = instances.get(uuid)
                if instance is not None and instance.primary_node != node and guest.up:
                    found[uuid] = (node, guest)
        return found

    @cached_property
    def primaries(self) -> Mapping[Uuid, Sequence[str]]:
        """Names of the instances by primary node, in natural order."""
        found: dict[Uuid, list[str]] = {}
        for instance in self.ordered:
            found.setdefault(instance.primary_node, []).append(instance.name)
        return found

    @cached_property
    def secondaries(self) -> Mapping[Uuid, Sequence[str]]:
        """Names of the instances by secondary node, in natural order."""
        found: dict[Uuid, list[str]] = {}
        for instance in self.ordered:
            for node in instance.secondary_nodes:
                found.setdefault(node, []).append(instance.name)
        return found

    @cached_property
    def members(self) -> Mapping[Uuid, Sequence[Node]]:
        """Nodes by group, in natural order."""
        found: dict[Uuid, list[Node]] = {}
        for node in sorted(self.cluster.nodes.values(), key=lambda one: natural(one.name)):
            found.setdefault(node.group, []).append(node)
        return found
