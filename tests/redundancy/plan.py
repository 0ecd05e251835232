"""What goes wrong in a round, drawn from its seed: the same seed is the same round."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

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
    FULL_DISK = "a node's disk is full for a while, and something is killed or to be done there"
    ISOLATE = "a guest's node is cut off with the guest alive, and the guest is failed over"


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


def plan(seed: int, longest: float) -> tuple[Fault, ...]:
    """The faults of a round. Consecutive seeds go through all kinds as their first one."""
    kinds = tuple(Kind)
    chance = random.Random(f"redundancy/{seed}")
    first = kinds[seed % len(kinds)]
    others = [chance.choice(kinds) for _ in range(chance.randint(0, MOST - 1))]
    return tuple(
        Fault(
            kind=kind,
            victim=chance.random(),
            how=chance.random(),
            after=chance.randint(5, 60),
            seconds=round(chance.uniform(0.3, longest), 2),
        )
        for kind in (first, *others)
    )
