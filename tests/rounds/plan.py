"""What goes wrong in a round, drawn from its seed: the same seed is the same round."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

MOST = 3
"""Faults in one round, one after the other."""


class Kind(enum.StrEnum):
    """What is done to the cluster."""

    KILL_MASTER = "the master is killed, and started again later"
    KILL_AGENT = "an agent is killed, and started again later"
    KILL_NODE = "all daemons of a node are killed, and started again later"
    FREEZE_MASTER = "the master is frozen, and goes on later"
    FREEZE_AGENT = "an agent is frozen, and goes on later"
    FREEZE_NODE = "all daemons of the master's node are frozen, and go on later"
    CUT_MASTER = "the master's node is cut off alone"
    CUT_MINORITY = "the master's node is cut off with a minority"
    CUT_OTHER = "another node is cut off"
    MUTE = "what the master's node sends is lost"
    DEAF = "what is sent to the master's node is lost"
    FLAP = "the links of the master's node come and go"
    MOVE = "the master is moved to another candidate"
    RESTORE = "the state is restored from an older copy"
    TAKE_COPY = "the master's node is dead, and another goes on with its copy of the state"
    LOSE_MEMBER = "a member of the store is killed and stays away for a while"
    FREEZE_MEMBER = "a member of the store is frozen, and goes on later"
    FULL_MEMBER = "the disk of a member of the store is full for a while"
    SKEW_MEMBER = "a member of the store comes back with another clock"


EVERYWHERE = (
    Kind.KILL_MASTER,
    Kind.KILL_AGENT,
    Kind.KILL_NODE,
    Kind.FREEZE_MASTER,
    Kind.FREEZE_AGENT,
    Kind.FREEZE_NODE,
    Kind.CUT_MASTER,
    Kind.CUT_MINORITY,
    Kind.CUT_OTHER,
    Kind.MUTE,
    Kind.DEAF,
    Kind.FLAP,
    Kind.MOVE,
)
SQLITE = (*EVERYWHERE, Kind.RESTORE, Kind.TAKE_COPY)
ETCD = (
    *EVERYWHERE,
    Kind.RESTORE,
    Kind.LOSE_MEMBER,
    Kind.FREEZE_MEMBER,
    Kind.FULL_MEMBER,
    Kind.SKEW_MEMBER,
)
LOSING = (Kind.RESTORE, Kind.TAKE_COPY)
"""After these the cluster does not know what came after the copy."""


@dataclass(frozen=True)
class Fault:
    """``victim`` is a draw from 0 to 1 that whoever carries the fault out turns into a node.

    ``after`` is how many jobs the clients get acknowledged before it; ``seconds`` how long it
    lasts.
    """

    kind: Kind
    victim: float
    after: int
    seconds: float


def plan(seed: int, kinds: tuple[Kind, ...], longest: float) -> tuple[Fault, ...]:
    """The faults of a round. Consecutive seeds go through all kinds as their first one."""
    chance = random.Random(f"rounds/{seed}")
    first = kinds[seed % len(kinds)]
    others = [chance.choice(kinds) for _ in range(chance.randint(0, MOST - 1))]
    return tuple(
        Fault(
            kind=kind,
            victim=chance.random(),
            after=chance.randint(1, 4),
            seconds=round(chance.uniform(0.3, longest), 2),
        )
        for kind in (first, *others)
    )
