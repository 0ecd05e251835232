"""The mirrors of a guest's disks: they can end and begin again, with some work in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gantry.hypervisors.kvm import attaching, block_jobs, layers, probing
from gantry.hypervisors.kvm.layers import Layers
from gantry.hypervisors.kvm.mirrors import Mirrors
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.one_mirror import Key, OneMirror
from gantry.model import timeouts
from gantry.model.entities import OnDegraded
from gantry.model.errors import GantryError, OperationFailed, Reason
from gantry.model.live import MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget

if TYPE_CHECKING:
    from gantry.hypervisors.kvm.awaited import Awaited

_ENDS: Final = 5.0
"""Seconds in which a mirror comes to its end that has nothing under way."""


class GuestMirrors(Mirrors):
    """Those of a guest."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._parting: list[Key] = []

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
        which is to end, or to mirror ``again``, which begins by tidying up. ``part`` is to follow.
        """
        async with self._turn:
            mine = tuple(self._all.values())
            for one in mine:
                one.leaving = True
            # A connection that breaks while a mirror ends makes QEMU wait.
            asked = asyncio.gather(*(self._there(one) for one in mine))
            await asyncio.gather(asked, bar())
            monitor = await self._monitor(timeouts.QMP)
            ended = await asyncio.gather(
                *(self._left(monitor, *each) for each in zip(mine, asked.result(), strict=True))
            )
            self._changed()
        for one, whole in zip(mine, ended, strict=True):
            if not whole and not one.copying:
                raise self._not_there(one)

    async def part(self) -> None:
        """Let go of the connections of those that ``leave`` has ended, as long as the other sides
        are there: QEMU would wait for them at its end.
        """
        left, self._parting = self._parting, []
        monitor = await self._monitor(timeouts.QMP)
        await asyncio.gather(*(block_jobs.leave(monitor, *key) for key in left))

    async def _there(self, one: OneMirror) -> bool:
        return one.answered_lately() or await one.answers(self._peers)

    async def _left(self, monitor: Monitor, one: OneMirror, answers: bool) -> bool:
        """Whether it has come to its end in order; it has ended in any case."""
        whole = answers and not one.copying and await self._concluded(monitor, one)
        if one.watch is not None:
            one.watch.cancel()
        self._all.pop(one.key, None)
        if whole:
            self._parting.append(one.key)
        else:
            await block_jobs.release(monitor, *one.key)
        return whole

    async def _concluded(self, monitor: Monitor, one: OneMirror) -> bool:
        """It ends in order, as QEMU tells: a mirror that was not ready, or failed, does not."""
        one.outcome = asyncio.get_running_loop().create_future()
        try:
            await monitor.execute("block-job-cancel", device=block_jobs.job_name(*one.key))
            async with asyncio.timeout(_ENDS):
                return not await one.outcome
        except (OperationFailed, TimeoutError):
            return False

    def told(self, event: str, data: Mapping[str, Any]) -> None:
        """An event of QEMU."""
        super().told(event, data)
        if event in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
            why = str(data.get("error", "")) or ("" if event.endswith("COMPLETED") else "cancelled")
            for one in self._all.values():
                if one.outcome is None or one.outcome.done():
                    continue
                if data.get("device") == block_jobs.job_name(*one.key):
                    one.outcome.set_result(why)

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

    async def join(
        self,
        disks: Sequence[DiskSpec],
        ready: Callable[[set[str]], Awaitable[None]],
        awaited: Awaited | None,
    ) -> None:
        """Begin those of a guest that comes from another node, in a QEMU of its own.

        The other ends may just be about to serve it. They are called, its disks are made ``ready``,
        and then mirrored. ``ready`` gets the names of its nodes. One that cannot be begun is lost.
        """
        async with self._turn:
            monitor = await self._monitor(timeouts.QMP)
            known: frozenset[str] = awaited.secured if awaited is not None else frozenset()
            means = attaching.Means(monitor=monitor, peers=self._peers, device=True, secured=known)
            nodes = awaited.nodes if awaited is not None else await layers.names(monitor)
            made = asyncio.ensure_future(ready(nodes))
            there = [layers.among(nodes, disk.index) for disk in disks]
            try:
                await asyncio.gather(
                    *(
                        self._joined(means, disk, found, made)
                        for disk, found in zip(disks, there, strict=True)
                    )
                )
            finally:
                made.cancel()

    async def _joined(
        self, means: attaching.Means, disk: DiskSpec, there: Layers, made: Awaitable[None]
    ) -> None:
        """All of a disk, one after the other: each is on top of the one before."""
        mine = [OneMirror(disk, msgspec.structs.replace(to, full=False)) for to in disk.targets]
        calls = [asyncio.create_task(self._called(means, one)) for one in mine]
        try:
            await asyncio.shield(made)
            for one, call in zip(mine, calls, strict=True):
                there = await self._first(means, one, there, await call)
        finally:
            for call in calls:
                call.cancel()

    async def _called(self, means: attaching.Means, one: OneMirror) -> str:
        """Why it cannot be had; nothing where it can."""
        try:
            found = await attaching.call(means, one, self._name)
        except GantryError as error:
            return error.message
        one.content = one.target.content or found
        return ""

    async def _first(
        self, means: attaching.Means, one: OneMirror, there: Layers, why: str
    ) -> Layers:
        try:
            if not why:
                there = await attaching.first(means, one, there)
        except GantryError as error:
            why = error.message
        self._all[one.key] = one
        if why:
            self._ended(one, why)
            return layers.among(await layers.names(means.monitor), one.disk.index)
        one.proven = True
        self._become(one, MirrorPhase.READY)
        self._follow(one)
        return there

    async def _again(self, before: OneMirror) -> None:
        """It is the same as before, but for what ``work`` did on both sides."""
        one = OneMirror(before.disk, msgspec.structs.replace(before.target, full=False))
        try:
            await self._begin(one)
        except GantryError as error:
            self._all[one.key] = one
            self._ended(one, error.message)
