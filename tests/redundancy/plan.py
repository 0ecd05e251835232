"""What goes wrong in a round, drawn from its seed: the same seed is the same round."""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 14.0
"""Seconds of the longest fault: longer than a replica may be away, and a node silent."""
MOST = 3
"""Faults in one round, one after the other."""


class Kind(enum.StrEnum):
    """What is done to the cluster, or to one guest of it."""

    KILL_GUEST = "the QEMU of a guest is killed"
    KILL_REPLICA = "the daemons that serve a node's replicas are killed"
    FREEZE_REPLICA = "the daemons that serve a node's replicas are frozen, and go on later"
    KILL_AGENT = "an agent is killed, and started again later"
    KILL_MASTER = "the master is killed, and started again later"
    KILL_NODE = "everything on a node is killed, and the node comes back later"
    LOSE_NODE = "everything on a node is killed, and its guests are failed over"
    CUT_NODE = "a node is cut off from all others for a while"
    CUT_PAIR = "two nodes do not reach each other for a while"
    FLAP = "the links of a node come and go"
    STOP_START = "a guest is shut down and started again"
    FAILOVER = "a guest is failed over, in order"
    REBOOT_KILL = "a guest is shut down, its node is killed, and it is failed over"
    MOVE_REPLICA = "a replica is added on another node, and the old one is removed"
    MIGRATE = "a guest is migrated"
    MIGRATE_KILL = (
        "a guest is migrated, and QEMUs or storage daemons of one end are killed meanwhile"
    )
    MIGRATE_AGENT = "a guest is migrated, and an agent or the master is killed meanwhile"
    MIGRATE_CUT = "a guest is migrated, and a node of these is cut off meanwhile"
    MIGRATE_LOSE = "a guest is migrated, and everything on a node of these is killed meanwhile"
    KILL_SITE = "everything on all nodes is killed at once, and they come back later"
    LOSE_SITE = "everything on all nodes is killed at once, and the guests of one are failed over"
    GROW = "a guest's disk grows"
    GROW_KILL = "a guest's disk grows, and QEMUs or storage daemons of a node are killed meanwhile"
    GROW_AGENT = "a guest's disk grows, and an agent or the master is killed meanwhile"
    GROW_CUT = "a guest's disk grows, and a node of its replicas is cut off meanwhile"
    CONTINUE = "a guest whose writes do not wait is cut off, and its node may die"
    FULL_DISK = "a node's disk is full for a while, and something is killed or to be done there"
    ISOLATE = "a guest's node is cut off with the guest alive, and the guest is failed over"


POWER = (
    Kind.KILL_NODE,
    Kind.LOSE_SITE,
    Kind.KILL_SITE,
    Kind.LOSE_NODE,
    Kind.REBOOT_KILL,
    Kind.MIGRATE_LOSE,
)
"""Those that begin a round in which whatever kills a node takes its power."""
EMULATED = (Kind.LOSE_NODE, Kind.KILL_NODE, Kind.LOSE_SITE, Kind.KILL_SITE)
"""All that happens to machines that are emulated and lose their power."""


@dataclass(frozen=True)
class Fault:
    """``victim`` is a draw from 0 to 1 that whoever carries the fault out turns into one.

    ``how`` is another, for a kind that has several ways. ``after`` is how many blocks each guest
    gets acknowledged before it; ``seconds`` how long it lasts.
    """

    kind: Kind
    victim: float
    how: float
    after: int
    seconds: float


def plan(
    seed: int, first: Sequence[Kind] = tuple(Kind), kinds: Sequence[Kind] = tuple(Kind)
) -> tuple[Fault, ...]:
    """The faults of a round: of these ``kinds``.

    Consecutive seeds go through ``first`` as their first one.
    """
    chance = random.Random(f"redundancy/{seed}")
    others = [chance.choice(kinds) for _ in range(chance.randint(0, MOST - 1))]
    return tuple(
        _fault(kind, chance, after=60, shortest=0.3, longest=LONGEST)
        for kind in (first[seed % len(first)], *others)
    )


def alone(kind: Kind) -> tuple[Fault, ...]:
    """The short round in which nothing but that happens: always the same one."""
    return (_fault(kind, random.Random(f"redundancy/{kind.name}"), 10, 1.0, 7.0),)


def _fault(kind: Kind, chance: random.Random, after: int, shortest: float, longest: float) -> Fault:
    return Fault(
        kind=kind,
        victim=chance.random(),
        how=chance.random(),
        after=chance.randint(5, after),
        seconds=round(chance.uniform(shortest, longest), 2),
    )
