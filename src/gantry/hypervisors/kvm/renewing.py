"""The mirrors of a guest's disks: they can end and begin again, with some work in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from gantry.hypervisors.kvm import attaching, block_jobs, probing
from gantry.hypervisors.kvm.mirrors import Mirrors
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.one_mirror import OneMirror
from gantry.model import timeouts
from gantry.model.entities import OnDegraded
from gantry.model.errors import GantryError, OperationFailed, Reason
from gantry.model.live import MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget


class GuestMirrors(Mirrors):
    """Those of a guest."""

    @property
    def awaited(self) -> bool:
        """Whether one has ended that nobody has released, though writes must wait for that."""
        return any(
            one.ended and not one.copying and one.disk.on_degraded is OnDegraded.WAIT
            for one in self._all.values()
        )

    def nodes(self, index: int) -> set[Uuid]:
        """Those to which that disk is mirrored, or was until that was lost."""
        return {node for number, node in self._all if number == index}

    async def in_order(self) -> None:
        """All are ready, and answer now; OperationFailed where one is not, or does not."""
        for one in tuple(self._all.values()):
            await probing.lost(self._peers, one)
            if one.ended or one.asked is not None or one.live.phase is not MirrorPhase.READY:
                raise self._not_there(one)

    async def anew(self, index: int, work: Callable[[], Awaitable[None]]) -> None:
        """End all of a disk in order, do ``work``, and begin them again; nobody writes meanwhile.

        One that cannot be begun again is lost.
        """
        async with self._turn:
            mine = [one for one in self._all.values() if one.disk.index == index]
            monitor = await self._monitor(timeouts.QMP)
            for one in mine:
                one.leaving = True
                await block_jobs.release(monitor, *one.key, answers=True)
                if one.watch is not None:
                    one.watch.cancel()
            try:
                await work()
            finally:
                for one in mine:
                    await self._again(one)

    def ask(self) -> None:
        """Find out whether all answer, that ``leave`` has not to: it is about to come."""
        for one in self._all.values():
            now = time.monotonic()
            since = now - max(one.answered, one.looked)
            if since > timeouts.REPLICA_ANSWERED / 3 and one.asked is None:
                one.looked = now
                self._background(self._asked(one))

    async def _asked(self, one: OneMirror) -> None:
        await probing.lost(self._peers, one)

    async def leave(self, bar: Callable[[], Awaitable[None]]) -> None:
        """End all in order, after ``bar``; nobody writes meanwhile. Copies are given up.

        OperationFailed where one does not come to its end. Some of what they used stays in QEMU,
        which is to end, or to mirror ``again``, which begins by tidying up.
        """
        async with self._turn:
            mine = tuple(self._all.values())
            for one in mine:
                one.leaving = True
            # A connection that breaks while a mirror ends makes QEMU wait.
            asked = asyncio.gather(*(self._there(one) for one in mine))
            await asyncio.gather(asked, bar())
            monitor = await self._monitor(timeouts.QMP)
            lost = [
                one
                for one, answers in zip(mine, asked.result(), strict=True)
                if not await self._left(monitor, one, answers=answers) and not one.copying
            ]
            self._changed()
        if lost:
            raise self._not_there(lost[0])

    async def _there(self, one: OneMirror) -> bool:
        return one.answered_lately() or await one.answers(self._peers)

    async def _left(self, monitor: Monitor, one: OneMirror, *, answers: bool) -> bool:
        """Whether it has come to its end in order; it has ended in any case."""
        job, ended = block_jobs.job_name(*one.key), None
        if answers and not one.copying:
            ended = await block_jobs.concluded(monitor, job)
        if one.watch is not None:
            one.watch.cancel()
        self._all.pop(one.key, None)
        if ended is None or ended.error:
            await block_jobs.release(monitor, *one.key)
        else:  # before the other side is gone: QEMU would wait for it at its end
            await block_jobs.leave(monitor, *one.key)
        return ended is not None and not ended.error

    def _not_there(self, one: OneMirror) -> OperationFailed:
        return OperationFailed(
            f"the replica of disk {one.disk.index} on {one.target.name} is not in sync any more",
            f"gnt-instance info {self._name} shows it; try again when it is",
            reason=Reason.STATE,
            object_name=self._name,
        )

    async def again(self, disk: DiskSpec, target: MirrorTarget) -> None:
        """Begin one again that had ended in order, before anybody has written; or it is lost."""
        async with self._turn:
            if not self.attached(disk.index, target.node):
                await self._again(OneMirror(disk, target))

    async def join(self, disks: Sequence[DiskSpec], ready: Callable[[], Awaitable[None]]) -> None:
        """Begin those of a guest that comes from another node, in a QEMU of its own.

        The other ends may just be about to serve it. They are called first, then its disks are
        made ``ready``. One that cannot be begun is lost.
        """
        async with self._turn:
            monitor = await self._monitor(timeouts.QMP)
            means = attaching.Means(monitor=monitor, peers=self._peers, device=True)
            called = [
                await self._called(means, OneMirror(disk, msgspec.structs.replace(to, full=False)))
                for disk in disks
                for to in disk.targets
            ]
            await ready()
            for one, why in called:
                await self._joined(means, one, why)

    async def _called(self, means: attaching.Means, one: OneMirror) -> tuple[OneMirror, str]:
        """And why it cannot be had."""
        one.content = one.target.content
        try:
            if not one.content:
                one.content = await probing.content(self._peers, one, self._name)
            await attaching.call(means, one)
        except GantryError as error:
            return one, error.message
        return one, ""

    async def _joined(self, means: attaching.Means, one: OneMirror, why: str) -> None:
        try:
            if not why:
                await attaching.first(means, one)
        except GantryError as error:
            why = error.message
        self._all[one.key] = one
        if why:
            self._ended(one, why)
            return
        one.proven = True
        self._become(one, MirrorPhase.READY)
        self._follow(one)

    async def _again(self, before: OneMirror) -> None:
        """It is the same as before, but for what ``work`` did on both sides."""
        one = OneMirror(before.disk, msgspec.structs.replace(before.target, full=False))
        try:
            await self._begin(one)
        except GantryError as error:
            self._all[one.key] = one
            self._ended(one, error.message)
