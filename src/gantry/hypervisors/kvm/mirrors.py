"""The mirrors of one guest's disks: what each is doing, and when it is lost.

``block_jobs`` and ``resync`` speak with QEMU; here is what is known, and told on every change.
QEMU holds a write for as long as its replica does not answer, so that a loss is decided here:
by asking the export's address, or because the job ended by itself.
See docs/adr/0015-mirror.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm import block_jobs, resync
from gantry.hypervisors.kvm.block_jobs import Job
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.one_mirror import Key, OneMirror
from gantry.model import timeouts
from gantry.model.entities import OnDegraded
from gantry.model.errors import GantryError, OperationFailed, Reason, Unavailable
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget

_log = logging.getLogger(__name__)

_LEAST_TRY: Final = 3.0
"""Seconds for which an export was asked at least before it is lost."""
_TRY_AGAIN: Final = 0.5
_LATELY: Final = 10.0
"""Seconds after the end of a copy in which a guest that stands still is told to go on."""


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
        self._disturbed = time.monotonic()

    def live(self) -> tuple[MirrorLive, ...]:
        """What each is doing, from memory."""
        return tuple(one.live for one in self._all.values())

    @property
    def orderly(self) -> bool:
        """Whether none has ended by itself: what QEMU writes out at its end reaches all."""
        return not any(one.ended for one in self._all.values())

    @property
    def disturbed(self) -> bool:
        """Whether a copy or mirror has been ended lately, by which a write may have failed."""
        return time.monotonic() - self._disturbed < _LATELY

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
            for target in disk.targets:
                await self._attach(disk, target)

    async def adopt(self, disks: Sequence[DiskSpec]) -> None:
        """Those that an earlier agent left: QEMU is asked for their jobs."""
        wanted = [(disk, target) for disk in disks for target in disk.targets]
        if not wanted:
            return
        jobs: dict[str, Job] = {}
        answered = True
        try:
            jobs = await block_jobs.jobs(await self._monitor(timeouts.QMP))
        except GantryError as error:
            answered = False
            _log.warning("the mirrors of %s cannot be asked for: %s", self._name, error)
        for disk, target in wanted:
            one = self._all[disk.index, target.node] = OneMirror(disk, target)
            job = jobs.get(block_jobs.job_name(*one.key))
            if job is None and answered:
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
            self._disturbed = time.monotonic()
            answers = (
                one is not None and one.asked is None and one.live.phase is not MirrorPhase.LOST
            )
            monitor = await self._monitor(timeouts.QMP)
            await block_jobs.release(monitor, index, node, answers=answers)
            if one is not None and one.watch is not None:
                one.watch.cancel()
            self._all.pop((index, node), None)
            self._changed()
            return one is not None

    def told(self, event: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU."""
        job = str(data.get("device", ""))
        ended = event == "BLOCK_JOB_COMPLETED" or (
            event == "BLOCK_JOB_CANCELLED" and not self._ending
        )
        for one in tuple(self._all.values()):
            if ended and job == block_jobs.job_name(*one.key):
                self._ended(one, str(data.get("error", "")) or "its job in QEMU ended")
            elif job in (block_jobs.job_name(*one.key), block_jobs.copy_name(*one.key)):
                self._background(self._progress(one))

    def ending(self) -> None:
        """QEMU is told to end: it writes everything out, and only then cancels its jobs."""
        self._ending = True

    def close(self) -> None:
        """Follow them no longer; they go on."""
        for one in self._all.values():
            if one.watch is not None:
                one.watch.cancel()
        for task in self._tasks:
            task.cancel()
        self._all.clear()

    # How one begins

    async def _attach(self, disk: DiskSpec, target: MirrorTarget) -> None:
        one = OneMirror(disk, target)
        one.content = await self._content(one)
        monitor = await self._monitor(timeouts.QMP)
        await block_jobs.release(monitor, *one.key)
        await resync.count(monitor, disk.index)
        turns = self._turns.setdefault(disk.index, resync.Turns(time.monotonic()))
        turns.disturbed()
        kept = (await resync.known(monitor, disk.index)).get(target.node, "")
        partly = target.full and one.content != "" and kept == one.content
        if not partly:
            await resync.forget(monitor, disk.index, target.node)
        try:
            await self._connect(monitor, one, "remote")
            await block_jobs.mirror(
                monitor,
                disk.index,
                target.node,
                full=target.full and not partly,
                speed=disk.resync_rate << 20,
                device=self._device,
            )
            if not target.full or partly:
                await block_jobs.ready(monitor, *one.key)
            if partly:
                await self._connect(monitor, one, "copy")
                await resync.copy(monitor, *one.key, speed=disk.resync_rate << 20)
            elif not target.full:
                await self._ready(one)
            self._all[one.key] = one
        except BaseException:
            self._all.pop(one.key, None)
            await block_jobs.release(monitor, *one.key)
            raise
        await self._progress(one)
        self._follow(one)
        self._changed()

    async def _content(self, one: OneMirror) -> str:
        """The word for what is on the replica; Unavailable where it is not served."""
        try:
            async with asyncio.timeout(timeouts.REPLICA_LOST):
                found = await self._peers.exports(one.target)
        except (OSError, EOFError, TimeoutError) as error:
            raise Unavailable(
                f"disk {one.disk.index} of {self._name} cannot be mirrored to {one.target.name}: "
                f"it does not answer at {one.target.host} port {one.target.port} ({error})",
                "see whether the node and its secondary network are well",
                reason=Reason.ENVIRONMENT,
                object_name=self._name,
            ) from error
        if one.disk.uuid not in found:
            raise OperationFailed(
                f"{one.target.name} does not serve disk {one.disk.index} of {self._name} at "
                f"{one.target.host} port {one.target.port}",
                object_name=self._name,
            )
        words = [name.partition(".")[2] for name in found if name.startswith(one.disk.uuid + ".")]
        return words[0] if words else ""

    async def _connect(self, monitor: Monitor, one: OneMirror, purpose: str) -> None:
        await block_jobs.connect(
            monitor,
            block_jobs.remote_name(*one.key, purpose),
            one.target,
            export=one.disk.uuid,
            credentials=self._peers.credentials(),
            host=self._peers.host(one.target.node),
        )

    # What becomes of it

    async def _ready(self, one: OneMirror) -> None:
        monitor = await self._monitor(timeouts.QMP)
        if not one.content:  # adopted: its agent had asked for it
            one.content = (await resync.known(monitor, one.disk.index)).get(one.target.node, "")
        await resync.know(monitor, *one.key, one.content)
        self._become(one, MirrorPhase.READY)

    async def _copied(self, one: OneMirror) -> None:
        """The copy beside the mirror has ended; how, its bitmap says."""
        monitor = await self._monitor(timeouts.QMP)
        if await resync.complete(monitor, *one.key):
            await resync.copied(monitor, *one.key)
            await self._ready(one)
            return
        # The mirror beside it is of no use.
        self._disturbed = time.monotonic()
        await resync.forget(monitor, *one.key)
        self._ended(one, "what it lacks could not be copied")
        await block_jobs.end(monitor, block_jobs.job_name(*one.key))

    def _ended(self, one: OneMirror, why: str) -> None:
        if self._all.get(one.key) is not one or one.ended or one.leaving:
            return
        one.ended = True
        if one.watch is not None and one.watch is not asyncio.current_task():
            one.watch.cancel()
        self._become(one, MirrorPhase.LOST, why)

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
        await block_jobs.release(await self._monitor(timeouts.QMP), *one.key)
        self._changed()

    # Looking after it

    def _follow(self, one: OneMirror) -> None:
        one.watch = asyncio.create_task(self._look(one))
        one.watch.add_done_callback(_done)

    async def _look(self, one: OneMirror) -> None:
        while not one.ended:
            began = time.monotonic()
            await self._ask(one)
            if one.asked is None:
                await self._progress(one)
            pause = timeouts.REPLICA_PROBE if one.asked is None else _TRY_AGAIN
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    async def _ask(self, one: OneMirror) -> None:
        began = time.monotonic()
        first = began if one.asked is None else one.asked
        patience = max(one.answered + timeouts.REPLICA_LOST, first + _LEAST_TRY) - began
        try:
            async with asyncio.timeout(max(_TRY_AGAIN, patience)):
                await self._peers.exports(one.target)
        except (OSError, EOFError, TimeoutError) as error:
            one.asked = first
            now = time.monotonic()
            late = now - one.answered >= timeouts.REPLICA_LOST and now - first >= _LEAST_TRY
            if late and one.live.phase is not MirrorPhase.LOST:
                self._become(
                    one,
                    MirrorPhase.LOST,
                    f"{one.target.host} port {one.target.port} does not answer: "
                    f"{error or 'nothing comes'}",
                )
            return
        one.answered, one.asked = time.monotonic(), None

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
        job = jobs.get(block_jobs.job_name(*one.key))
        if job is None:
            if not self._ending:
                self._ended(one, "its job in QEMU ended")
            return
        if one.live.phase is MirrorPhase.LOST:
            self._become(one, MirrorPhase.COPYING)
        if one.live.phase is MirrorPhase.READY:
            await self._empty(one.disk.index, jobs)
            return
        copying = jobs.get(block_jobs.copy_name(*one.key))
        if copying is not None:
            self._far(one, copying)
        elif await resync.begun(monitor, *one.key):
            await self._copied(one)
        elif job.ready:
            await self._ready(one)
        else:
            self._far(one, job)

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
        monitor = await self._monitor(timeouts.QMP)
        away = set(await resync.known(monitor, index)) - {one.target.node for one in mine}
        if away or any(one.live.phase is not MirrorPhase.READY for one in mine):
            turns.disturbed()
            return
        found = [jobs.get(block_jobs.job_name(*one.key)) for one in mine]
        quiet = all(job is not None and job.length == job.offset for job in found)
        name = turns.look(quiet=quiet, now=time.monotonic(), pause=timeouts.BITMAP_TURN)
        if name is not None:
            await resync.empty(monitor, index, name)

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_done)


def _done(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("following a mirror failed", exc_info=error)
