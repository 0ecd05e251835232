"""What is known of one disk's mirror to one node, while it is followed."""

from __future__ import annotations

import asyncio
import time

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm.block_jobs import Job
from gantry.model import timeouts
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget

Key = tuple[int, Uuid]
"""The disk's index, and the node."""


class OneMirror:
    """One disk's mirror to one node."""

    def __init__(self, disk: DiskSpec, target: MirrorTarget) -> None:
        self.disk = disk
        self.target = target
        self.live = MirrorLive(disk=disk.uuid, node=target.node, phase=MirrorPhase.COPYING)
        self.content = ""
        self.copying = target.full
        """It is not there yet: nothing is held for it, and where it is lost its jobs end."""
        self.waits = False
        """Its copy has not begun: another one of that disk is under way."""
        self.proven = False
        """All of it is there, as seen by this agent."""
        self.ended = False
        """The job is gone, without having been released."""
        self.leaving = False
        """It is being released: that its job ends is no loss."""
        self.outcome: asyncio.Future[str] | None = None
        """How its job ends, where somebody waits for that: an error, or nothing."""
        self.turn = asyncio.Lock()
        self.watch: asyncio.Task[None] | None = None
        self.answered = time.monotonic()
        self.asked: float | None = None
        """Since when it is asked without an answer."""
        self.looked = 0.0
        """When it was last asked ahead of a moment in which there is no time for that."""
        self.told = 0.0
        self.unseen = False
        """QEMU did not answer when it was last asked; that is logged once."""
        self.patience = timeouts.REPLICA_LOST
        """Seconds for which something may be under way, and get no further."""
        self.dead = False
        """QEMU's connection to it is, and cannot be made anew."""
        self._offset = 0
        self._further = time.monotonic()

    @property
    def key(self) -> Key:
        """By which it is known."""
        return self.disk.index, self.target.node

    def further(self, job: Job) -> None:
        """So far its job has come: the rest is under way."""
        if job.offset == job.length or job.offset != self._offset:
            self._offset = job.offset
            self.goes_on()

    def goes_on(self) -> None:
        """Nothing is to be held against it that was before."""
        self._further, self.patience = time.monotonic(), timeouts.REPLICA_LOST

    @property
    def stands(self) -> bool:
        """Whether what is under way has not got any further for too long."""
        return time.monotonic() - self._further >= self.patience

    def answered_lately(self) -> bool:
        """Whether it did within the last moment, and nothing has been heard otherwise."""
        lately = time.monotonic() - self.answered < timeouts.REPLICA_ANSWERED
        return lately and self.asked is None and self.live.phase is not MirrorPhase.LOST

    async def answers(self, peers: Peers) -> bool:
        """Whether the other side does now: the last look may be seconds old."""
        if self.asked is not None or self.live.phase is MirrorPhase.LOST:
            return False
        try:
            async with asyncio.timeout(timeouts.REPLICA_LOST):
                await peers.exports(self.target)
        except (OSError, EOFError, TimeoutError):
            return False
        return True
