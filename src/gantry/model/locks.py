"""Locks as values: what an operation needs, in one global order."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import msgspec


class Level(enum.IntEnum):
    """The kinds of lock, in the order in which they are taken."""

    CLUSTER = 0
    INSTANCE = 1
    NODEGROUP = 2
    NODE = 3
    NETWORK = 4


class Mode(enum.StrEnum):
    """Shared with other shared holders, or exclusive."""

    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class Lock(NamedTuple):
    """One lock: of an object by its uuid; of an instance to be made by its name."""

    level: Level
    name: str


class Needs(msgspec.Struct, frozen=True):
    """The locks that an operation wants, each in one mode."""

    locks: tuple[tuple[Lock, Mode], ...] = ()

    @staticmethod
    def of(*, shared: Iterable[Lock] = (), exclusive: Iterable[Lock] = ()) -> Needs:
        """The set in the global order; exclusive wins where a lock is named twice."""
        modes = dict.fromkeys(shared, Mode.SHARED)
        modes.update(dict.fromkeys(exclusive, Mode.EXCLUSIVE))
        return Needs(tuple(sorted(modes.items())))


CLUSTER = Lock(Level.CLUSTER, "cluster")
"""Shared by every operation on an object, exclusive for changes of the cluster itself."""

HOOKS = Lock(Level.CLUSTER, "hooks")
"""Of the bundle of hooks that nodes are to have."""


def bundle(target: str) -> Lock:
    """Of which bundle of that target nodes are to have; ``HOOKS`` is that of the hooks."""
    return Lock(Level.CLUSTER, target)


CANDIDATES = Lock(Level.CLUSTER, "master-candidates")
"""Exclusive for what changes which nodes are master candidates: how many there are must hold."""

WEBHOOKS = Lock(Level.CLUSTER, "webhooks")
"""Of the list of webhooks."""


MASTER = Lock(Level.CLUSTER, "master")
"""Of which node is the master. Jobs on objects go on, and over to the next master."""


def instance(uuid_or_name: str) -> Lock:
    """The lock of an instance."""
    return Lock(Level.INSTANCE, uuid_or_name)


@cache
def node(uuid: str) -> Lock:
    """The lock of a node. Kept: an instance that may go anywhere needs those of all nodes."""
    return Lock(Level.NODE, uuid)


def group(uuid: str) -> Lock:
    """The lock of a group."""
    return Lock(Level.NODEGROUP, uuid)
