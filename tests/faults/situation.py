"""What an operation is given, and the cluster that it is done on."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import msgspec
from tests.fakes.cluster import FakeCluster

from gantry.model.entities import AnyEntity, Mirror


class Unsure(enum.Enum):
    """What cannot be undone, and is what it was or what it was to be after a failure."""

    DISKS = "disks"
    """The instance is marked so."""
    NODES = "nodes"
    """A disk that is empty, or larger than its record says, does no harm."""
    MACHINES = "machines"
    """Each of several; those that were told of it say so in their records, or not yet."""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """``prepare`` arranges the nodes before the master starts."""

    name: str
    op: dict[str, Any]
    objects: tuple[AnyEntity, ...] = ()
    prepare: Callable[[FakeCluster], None] = lambda cluster: None
    secrets: tuple[dict[str, str], ...] = ()
    nodes: int = 3
    unsure: Unsure | None = None
    """What its failure may leave as it is."""
    tolerated: tuple[str, ...] = ()
    """Beginnings of the names of orders that may fail without its failing."""
    keeps: bool = False
    """What it made durable before its last effect stays so where that fails."""

    @property
    def opcode(self) -> str:
        """Of its operation."""
        return str(self.op["OP_ID"])

    @property
    def mirrored(self) -> bool:
        """Whether it is about mirrored disks."""
        made = self.op.get("disk_template") == "mirror"
        return made or any(isinstance(one, Mirror) for one in self.objects)
