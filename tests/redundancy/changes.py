"""What is changed in a round, and what goes wrong meanwhile, drawn from its seed.

A family of rounds of its own: its seeds have nothing to do with those of ``plan``.
"""

from __future__ import annotations

import dataclasses
import enum
import random
from dataclasses import dataclass

LONGEST = 14.0
"""Seconds of the longest harm: longer than a replica may be away, and a node silent."""
BEGUN = (1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 8)
"""The harm is done when so many orders of the change have begun; most have few."""
LATEST = 0.4
"""Seconds after that order has begun, at most."""


class Change(enum.StrEnum):
    """What an operator does to a guest, or to a node with several."""

    TO_FILE = "mirrored disks become files while the guest runs"
    TO_FILE_DOWN = "mirrored disks become files while it is down"
    TO_MIRROR = "files become mirrored disks while the guest runs"
    TO_MIRROR_DOWN = "files become mirrored disks while it is down"
    PLUG = "a disk comes to a guest that runs"
    UNPLUG = "a disk is taken from a guest that runs"
    REPLACE_SECONDARY = "the secondary's replica is made anew"
    REPLACE_PRIMARY = "the primary's replica is made anew"
    REPLACE_NEW = "another node takes the secondary's place"
    REPLACE_AUTO = "what is lost is made anew"
    ADD_REPLICA = "a third replica is added"
    REMOVE_REPLICA = "a third replica is removed"
    EVACUATE = "a node with several guests is evacuated"
    NODE_MIGRATE = "all guests of a node are migrated"
    NODE_FAILOVER = "all guests of a node are failed over"
    MOVE = "a guest with its disks in files is moved"
    MIGRATE_FILE = "a guest with its disks in files is migrated"
    RECREATE = "disks that are lost are made anew"
    ACTIVATE = "the disks of a guest that is down are activated, and copied"
    DEACTIVATE = "the disks of a guest that is down are deactivated"
    FAILOVER = "a guest is failed over"
    START = "a guest is started"
    STOP = "a guest is shut down"


SEVERAL = (Change.EVACUATE, Change.NODE_MIGRATE, Change.NODE_FAILOVER)
"""Those that are about all guests."""


class Harm(enum.StrEnum):
    """What goes wrong meanwhile."""

    QEMU = "the QEMUs of a node are killed"
    DAEMON = "the storage daemons of a node are killed"
    AGENT = "an agent is killed, and started again later"
    MASTER = "the master is killed, and started again later"
    NODE = "everything on a node is killed, and it comes back later"
    CUT = "two nodes, or one and all others, do not reach each other for a while"
    FREEZE = "an agent, or the storage daemons of a node, are frozen for a while"
    FULL = "a node's disk is full for a while"
    CANCEL = "the job is cancelled, running or not"


@dataclass(frozen=True)
class Draw:
    """One change and one harm.

    ``victim``, ``how`` and ``where`` are draws from 0 to 1 that whoever carries it out turns into
    a guest, a way of the change, and who is harmed. ``after`` is how many blocks each guest gets
    acknowledged before it. The harm is done ``lag`` seconds after ``begun`` orders have begun, or
    when the command has ended; it lasts ``seconds``.
    """

    change: Change
    harm: Harm
    victim: float
    how: float
    where: float
    after: int
    begun: int
    lag: float
    seconds: float

    def __str__(self) -> str:
        when = f"{self.lag:g} s after {self.begun} orders"
        return f"{self.change}; {when}: {self.harm} ({self.seconds:g} s)"


def plan(seed: int) -> Draw:
    """Of a round: consecutive seeds go through all changes."""
    chance = random.Random(f"changes/{seed}")
    several = tuple(Change)
    return _drawn(several[seed % len(several)], chance.choice(tuple(Harm)), chance, LONGEST)


def alone(change: Change, harm: Harm) -> Draw:
    """The short round of these two, with the harm as soon as an order has begun."""
    drawn = _drawn(change, harm, random.Random(f"changes/{change.name}/{harm.name}"), 5.0)
    return dataclasses.replace(drawn, begun=1, lag=0.0)


def _drawn(change: Change, harm: Harm, chance: random.Random, longest: float) -> Draw:
    return Draw(
        change=change,
        harm=harm,
        victim=chance.random(),
        how=chance.random(),
        where=chance.random(),
        after=chance.randint(5, 20),
        begun=chance.choice(BEGUN),
        lag=round(chance.choice((0.0, chance.uniform(0.0, LATEST))), 3),
        seconds=round(chance.uniform(0.3, longest), 2),
    )
