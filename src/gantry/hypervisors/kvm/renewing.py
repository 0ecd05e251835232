"""The mirrors of a guest's disks: they can end and begin again, with some work in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from gantry.hypervisors.kvm import block_jobs, probing
from gantry.hypervisors.kvm.mirrors import Mirrors
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
                raise OperationFailed(
                    f"the replica of disk {one.disk.index} on {one.target.name} is not in sync",
                    f"gnt-instance info {self._name} shows it; try again when it is",
                    reason=Reason.STATE,
                    object_name=self._name,
                )

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

    async def again(self, disk: DiskSpec, target: MirrorTarget) -> None:
        """Begin one again that had ended in order, before anybody has written; or it is lost."""
        async with self._turn:
            if not self.attached(disk.index, target.node):
                await self._again(OneMirror(disk, target))

    async def _again(self, before: OneMirror) -> None:
        """It is the same as before, but for what ``work`` did on both sides."""
        one = OneMirror(before.disk, msgspec.structs.replace(before.target, full=False))
        try:
            await self._begin(one)
        except GantryError as error:
            self._all[one.key] = one
            self._ended(one, error.message)
