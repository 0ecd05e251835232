"""Whose the files in nodes' directories for disks are. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gantry.model.entities import DiskTemplate, Node
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot


class Owned(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of an instance. ``nodes`` have it; None: several may.

    Which have replicas of a mirrored disk is looked at elsewhere (``redundancy``).
    """

    instance: str
    nodes: frozenset[Uuid] | None


def disks(cluster: Snapshot) -> dict[str, Owned]:
    """All disks by path."""
    found: dict[str, Owned] = {}
    for one in cluster.instances.values():
        for disk in one.disks:
            local = disk.template is DiskTemplate.FILE
            nodes = frozenset((one.primary_node,)) if local else None
            found[disk.path] = Owned(instance=one.name, nodes=nodes)
    return found


def stranger(path: str, node: Node, owned: Mapping[str, Owned]) -> str:
    """Why the file should not be on that node; empty where it should."""
    found = owned.get(path)
    then = "unless a job is about it (gnt-job list) or somebody misses it, remove it there"
    if found is None:
        return f"{path} belongs to no instance ({then})"
    if found.nodes is None or node.uuid in found.nodes:
        return ""
    return f"{path} is not the disk of {found.instance}, which is on another node ({then})"
