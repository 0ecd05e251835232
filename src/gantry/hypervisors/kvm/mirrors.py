"""The mirrors of one guest's disks: what each is doing, and when it is lost.

``block_jobs``, ``changing_over`` and ``resync`` speak with QEMU; here is what is known, and told
on every change. QEMU holds a write for as long as its replica does not answer, so that a loss is
decided here: by asking the export's address, or because the job ended by itself. What is only
being copied holds nothing: where it is lost, its jobs are ended at once. One replica of a disk is
copied at a time, and is on top of those that are ready.
See docs/adr/0015-mirror.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm import attaching, block_jobs, dead_connections, layers, probing, resync
from gantry.hypervisors.kvm.block_jobs import Job
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.one_mirror import Key, OneMirror
from gantry.model import timeouts
from gantry.model.entities import OnDegraded
from gantry.model.errors import GantryError, OperationFailed
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget

_log = logging.getLogger(__name__)


class Mirrors:
    """All of one guest, or of disks that a storage daemon holds.

    ``monitor`` gives the connection to QEMU, ``changed`` is called on every change. ``device``:
    the disks are a guest's.
    """

    def __init__(
        self,
        name: str,
        peers: Peers,
        monitor: Callable[[float], Awaitable[Monitor]],
        changed: Callable[[], None],
        *,
        device: bool = True,
    ) -> None:
        self._name = name
        self._peers = peers
        self._monitor = monitor
        self._changed = changed
        self._device = device
        self._ending = False
        self._all: dict[Key, OneMirror] = {}
        self._turns: dict[int, resync.Turns] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def live(self) -> tuple[MirrorLive, ...]:
        """What each is doing, from memory."""
        return tuple(one.live for one in self._all.values())

    @property
    def orderly(self) -> bool:
        """Whether none has ended by itself: what QEMU writes out at its end reaches all.

        Copies do not count, as nobody counts on them.
        """
        return not any(one.ended and not one.copying for one in self._all.values())

    def attached(self, index: int, node: Uuid) -> bool:
        """Whether the disk is mirrored there."""
        one = self._all.get((index, node))
        return one is not None and not one.ended

    async def begin(self, disks: Sequence[DiskSpec]) -> None:
        """Mirror all disks to their targets; the guest does not run yet.

        Those that have nothing to copy are ready when this returns. OperationFailed,
        Unavailable: one could not be begun; QEMU must not go on.
        """
        for disk in disks:
            for target in sorted(disk.targets, key=lambda one: one.full):
                await self._attach(disk, target)

    async def adopt(self, disks: Sequence[DiskSpec]) -> None:
        """Those that an earlier agent left: QEMU is asked for their jobs."""
        wanted = [(disk, target) for disk in disks for target in disk.targets]
        if not wanted:
            return
        jobs: dict[str, Job] | None = None
        try:
            jobs = await block_jobs.jobs(await self._monitor(timeouts.QMP))
        except GantryError as error:
            _log.warning("the mirrors of %s cannot be asked for: %s", self._name, error)
        for disk, target in wanted:
            one = self._all[disk.index, target.node] = OneMirror(disk, target)
            one.copying = False  # until it is seen
            if jobs is not None and not jobs.keys() & {*block_jobs.names(*one.key)}:
                self._ended(one, "its job in QEMU ended while no agent looked")
                continue
            await self._progress(one)
            self._follow(one)

    async def attach(self, disk: DiskSpec, target: MirrorTarget) -> None:
        """Mirror a disk to one more node; see the contract."""
        async with self._turn:
            if not self.attached(disk.index, target.node):
                await self._attach(disk, target)

    async def release(self, index: int, node: Uuid) -> bool:
        """Mirror there no longer; whether there was such a mirror."""
        async with self._turn:
            one = self._all.get((index, node))
            if one is not None:
                one.leaving = True
            answers = one is not None and await one.answers(self._peers)
            await self._let_go(index, node, answers=answers)
            if one is not None and one.watch is not None:
                one.watch.cancel()
            self._all.pop((index, node), None)
            self._changed()
            self._background(self._next(index))
            return one is not None

    def told(self, event: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU."""
        job = str(data.get("device", ""))
        ended = event == "BLOCK_JOB_COMPLETED" or (
            event == "BLOCK_JOB_CANCELLED" and not self._ending
        )
        for one in tuple(self._all.values()):
            if ended and job == block_jobs.job_name(*one.key) and not one.copying:
                self._ended(one, str(data.get("error", "")) or "its job in QEMU ended")
            elif one.watch is not None and job in block_jobs.names(*one.key):
                self._background(self._progress(one))

    def ending(self) -> None:
        """QEMU is told to end: it writes everything out, and only then cancels its jobs."""
        self._ending = True

    def close(self) -> None:
        """Follow them no longer; they go on."""
        for task in self._tasks:
            task.cancel()
        self._all.clear()

    # How one begins

    async def _attach(self, disk: DiskSpec, target: MirrorTarget) -> None:
        one = OneMirror(disk, target)
        if self._copied_now(disk.index) is None:
            await self._begin(one)
        elif one.copying:
            one.waits = True
            self._all[one.key] = one
            self._changed()
        else:
            raise OperationFailed(f"disk {disk.index} of {self._name} is copied elsewhere now")

    def _copied_now(self, index: int) -> OneMirror | None:
        """The one to which that disk is just being copied."""
        for one in self._all.values():
            if one.disk.index == index and one.copying and not one.waits and not one.ended:
                return one
        return None

    async def _next(self, index: int) -> None:
        """Begin to copy to the next one that waits for that."""
        async with self._turn:
            while self._copied_now(index) is None and not self._ending:
                every = tuple(self._all.values())
                waiting = [one for one in every if one.waits and one.disk.index == index]
                if not waiting:
                    return
                one = waiting[0]
                one.waits = False
                try:
                    await self._begin(one)
                except GantryError as error:
                    self._all[one.key] = one
                    self._ended(one, error.message)

    async def _begin(self, one: OneMirror) -> None:
        index, node = one.key
        means = await self._means(index)
        try:
            one.content = await probing.content(self._peers, one, self._name)
            await block_jobs.release(means.monitor, index, node)
            await resync.count(means.monitor, index)
            self._turns.setdefault(index, resync.Turns(time.monotonic())).disturbed()
            if one.copying:
                await attaching.copy(means, one)
            else:
                await attaching.mirror(means, one)
                await self._ready(one)
            self._all[one.key] = one
        except BaseException:
            self._all.pop(one.key, None)
            await self._let_go(index, node)
            raise
        self._follow(one)
        self._changed()

    async def _means(self, index: int) -> attaching.Means:
        monitor = await self._monitor(timeouts.QMP)
        device = self._device and await layers.plugged(monitor, index)
        return attaching.Means(monitor=monitor, peers=self._peers, device=device)

    # What becomes of it

    async def _ready(self, one: OneMirror) -> None:
        monitor = await self._monitor(timeouts.QMP)
        if not one.content:  # adopted: its agent had asked for it
            one.content = (await resync.known(monitor, one.disk.index)).get(one.target.node, "")
        await resync.know(monitor, *one.key, one.content)
        one.proven = True
        one.goes_on()
        self._become(one, MirrorPhase.READY)

    async def _copied(self, one: OneMirror) -> None:
        """All of it is there: from now on it is one that writes are held for."""
        async with self._turn:
            means = await self._means(one.disk.index)
            if one.ended or one.leaving:
                return
            work = asyncio.create_task(attaching.change_over(means, one))
            if not (await asyncio.wait([work], timeout=timeouts.REPLICA_LOST))[0]:
                # QEMU may wait for the copy's connection, and for no other.
                await block_jobs.cut(means.monitor, *one.key, ("copy", "follow"))
            try:
                await work
            except OperationFailed as error:
                self._ended(one, error.message)
                return
            one.copying = False
            await self._ready(one)
        self._background(self._next(one.disk.index))

    def _ended(self, one: OneMirror, why: str) -> None:
        if self._all.get(one.key) is not one or one.ended or one.leaving:
            return
        one.ended = True
        if one.watch is not None and one.watch is not asyncio.current_task():
            one.watch.cancel()
        self._become(one, MirrorPhase.LOST, why)
        if one.copying:
            self._background(self._give_up(one))

    async def _give_up(self, one: OneMirror) -> None:
        """Nobody counts on what was only being copied: its jobs go at once."""
        async with self._turn:
            if self._all.get(one.key) is one:
                await self._let_go(*one.key)
        await self._next(one.disk.index)

    async def _let_go(self, index: int, node: Uuid, *, answers: bool = False) -> None:
        """Its jobs end. A guest's write that failed for them is made again."""
        monitor = await self._monitor(timeouts.QMP)
        await block_jobs.release(monitor, index, node, answers=answers)
        if self._device and (await monitor.execute("query-status"))["status"] == "io-error":
            await monitor.execute("cont", timeouts.QMP)

    def _become(self, one: OneMirror, phase: MirrorPhase, reason: str = "") -> None:
        before = one.live
        one.live = msgspec.structs.replace(before, phase=phase, reason=reason)
        if self._all.get(one.key) is one and one.live != before:
            _log.info(
                "disk %d of %s on %s: %s %s",
                one.disk.index,
                self._name,
                one.target.name,
                phase,
                reason,
            )
            self._changed()
            if phase is MirrorPhase.LOST and one.disk.on_degraded is OnDegraded.CONTINUE:
                self._background(self._go_on(one))

    async def _go_on(self, one: OneMirror) -> None:
        """The disk's writes are not to wait for anybody's word."""
        if one.ended:
            return
        one.ended = True
        one.live = msgspec.structs.replace(one.live, released=True)
        await self._let_go(*one.key)
        self._changed()

    # Looking after it

    def _follow(self, one: OneMirror) -> None:
        one.watch = self._background(self._look(one))

    async def _look(self, one: OneMirror) -> None:
        while not one.ended:
            began = time.monotonic()
            why = await probing.lost(self._peers, one)
            if why and one.copying:
                self._ended(one, why)
                return
            if why and one.live.phase is not MirrorPhase.LOST:
                self._become(one, MirrorPhase.LOST, why)
            if one.asked is None:
                work = self._background(self._progress(one))
                if why := await dead_connections.dead(self._peers, one, self._name, work):
                    self._become(one, MirrorPhase.LOST, why)
            pause = timeouts.REPLICA_PROBE if one.asked is None else probing.TRY_AGAIN
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    async def _progress(self, one: OneMirror) -> None:
        """How far a copy is; what has been lost and answers again goes on where it was."""
        try:
            async with one.turn:
                if self._all.get(one.key) is one and not one.ended:
                    await self._looked(one)
                    one.unseen = False
        except GantryError as error:
            if not one.unseen and not self._ending:
                _log.warning("the mirrors of %s cannot be looked at: %s", self._name, error)
            one.unseen = True

    async def _looked(self, one: OneMirror) -> None:
        monitor = await self._monitor(timeouts.QMP)
        jobs = await block_jobs.jobs(monitor)
        follow = jobs.get(block_jobs.follow_name(*one.key))
        holds = block_jobs.job_name(*one.key) in jobs
        if not one.proven:
            one.copying = follow is not None and not holds
        if one.copying and follow is not None:
            await self._copy_looked(monitor, one, follow, jobs)
        elif not holds:
            if not self._ending:
                self._ended(one, "its job in QEMU ended")
        elif one.live.phase is MirrorPhase.READY:
            one.further(jobs[block_jobs.job_name(*one.key)])
            await self._empty(one.disk.index, jobs)
        elif one.dead:
            return
        elif one.proven or (follow is None and await attaching.proven(monitor, one)):
            await self._ready(one)
        else:
            self._ended(one, "no agent saw how its copy ended")

    async def _copy_looked(
        self, monitor: Monitor, one: OneMirror, follow: Job, jobs: Mapping[str, Job]
    ) -> None:
        copying = jobs.get(block_jobs.copy_name(*one.key))
        if follow.ended:
            if not self._ending:
                self._ended(one, f"its copy ended: {follow.error or 'cancelled'}")
        elif copying is not None:
            self._far(one, copying)
        elif (begun := await resync.begun(monitor, *one.key)) and not await resync.complete(
            monitor, *one.key
        ):
            self._ended(one, "what it lacks could not be copied")
        elif begun or follow.ready:
            await self._copied(one)
        else:
            self._far(one, follow)

    def _far(self, one: OneMirror, job: Job) -> None:
        now = time.monotonic()
        one.live = msgspec.structs.replace(one.live, done=job.offset, total=job.length)
        if now - one.told >= timeouts.MIRROR_TOLD:
            one.told = now
            self._changed()

    async def _empty(self, index: int, jobs: Mapping[str, Job]) -> None:
        """Empty a bitmap of that disk, where its turn has come."""
        turns = self._turns.setdefault(index, resync.Turns(time.monotonic()))
        mine = [one for one in self._all.values() if one.disk.index == index]
        if any(one.live.phase is not MirrorPhase.READY for one in mine):
            turns.disturbed()
            return
        found = [jobs.get(block_jobs.job_name(*one.key)) for one in mine]
        quiet = all(job is not None and job.length == job.offset for job in found)
        monitor = await self._monitor(timeouts.QMP)
        await resync.turn(monitor, index, turns, {one.target.node for one in mine}, quiet=quiet)

    def _background(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_done)
        return task


def _done(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("following a mirror failed", exc_info=error)
