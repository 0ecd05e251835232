"""The part of the fake hypervisor by which guests go to another node, or come from there."""

from __future__ import annotations

import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gantry.hypervisors import fake_mirrors
from gantry.hypervisors.contract import Freed, Link, Manner, Whole
from gantry.hypervisors.fake_moving import Awaited, call
from gantry.hypervisors.fake_state import Behaviour, Kept, Moving, misbehave
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestLive, GuestState, HypervisorFacts
from gantry.model.moving_orders import Described, Ports
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

FACTS: Final = HypervisorFacts(
    available=True,
    why="guests are only made believe",
    version="1",
    accelerator="none",
    machine="fake-1",
    cpu_model="fake",
)


class Moves(ABC):
    """See the contract; what a driver has beside it is the driver's own."""

    _boot_id: str
    _changed: Callable[[GuestLive], None]
    _guests: dict[Uuid, Kept]
    _awaited: dict[Uuid, Awaited]

    @abstractmethod
    def happen(self, uuid: Uuid, state: GuestState, reason: str = "") -> None:
        """The guest comes to an end."""

    @abstractmethod
    def _running(self, uuid: Uuid) -> GuestLive:
        """The guest, which must run; or Rejected."""

    @abstractmethod
    def _up(self, kept: Kept) -> None:
        """It was found to be up."""

    @abstractmethod
    def _keep(self, kept: Kept) -> None:
        """Write down what is known of a guest."""

    @abstractmethod
    async def _inherit(self, spec: GuestSpec) -> None:
        """What another node wrote to its replicas here is its own from now on."""

    @abstractmethod
    def _behaviour(self, name: str) -> Behaviour:
        """What a guest of that name is told to do wrong."""

    async def describe(self, uuid: Uuid) -> Described:
        """What it was started with."""
        self._running(uuid)
        spec = self._guests[uuid].spec
        if spec is None:
            raise OperationFailed("an older version started it: nobody knows with what")
        return Described(spec=spec, accelerator=FACTS.accelerator)

    async def receive(
        self, spec: GuestSpec, accelerator: str, link: Link, disks: Sequence[int]
    ) -> Ports:
        """Listen, and be paused."""
        if accelerator != FACTS.accelerator:
            raise Rejected(f"{spec.name} is no guest that is made believe")
        known = self._guests.get(spec.uuid)
        if known is not None and known.live.up and known.moving is not Moving.AWAITED:
            raise Rejected(f"{spec.name} is up", reason=Reason.STATE)
        if spec.uuid not in self._awaited:
            came = functools.partial(self._move, spec.uuid, Moving.RECEIVED)
            self._awaited[spec.uuid] = await Awaited.listen(spec.uuid, link, came)
            live = GuestLive(
                uuid=spec.uuid,
                name=spec.name,
                state=GuestState.PAUSED,
                since=time.time(),
                memory=spec.memory,
                vcpus=spec.vcpus,
            )
            self._up(Kept(live, self._boot_id, spec=spec, moving=Moving.AWAITED))
        return Ports(memory=self._awaited[spec.uuid].port, disks=1 if disks else 0)

    async def send(
        self,
        uuid: Uuid,
        link: Link,
        ports: Ports,
        disks: Sequence[int],
        manner: Manner,
        progress: Callable[[str], None],
    ) -> Whole:
        """Call the other end, and be paused."""
        live = self._running(uuid)
        if self._guests[uuid].moving is Moving.SENT:
            return _whole(self._guests[uuid])
        behaviour = self._behaviour(live.name)
        await misbehave(behaviour.send, f"the fake hypervisor could not send {live.name}")
        await call(uuid, link, ports.memory)
        progress("sent: all of it (fake)")
        kept = self._guests[uuid]
        if manner.node is not None and not fake_mirrors.whole(kept.live, manner.node):
            raise OperationFailed(f"disks of {live.name} are not in sync any more")
        self._mirror(uuid, ())
        self._move(uuid, Moving.SENT, GuestState.PAUSED)
        return _whole(kept)

    async def resume(
        self, uuid: Uuid, disks: Sequence[DiskSpec] = (), freed: Freed = None
    ) -> GuestLive:
        """It runs, if all of it came."""
        kept = self._guests.get(uuid)
        if kept is None or not kept.live.up:
            never = kept is not None and kept.moving is not Moving.NO
            kind = Rejected if never else OperationFailed
            raise kind(f"guest {uuid} is not there")
        behaviour = self._behaviour(kept.live.name)
        await misbehave(behaviour.resume, f"the fake hypervisor did not resume {kept.live.name}")
        if kept.moving is Moving.AWAITED:
            self.happen(uuid, GuestState.STOPPED)
            raise Rejected(f"{kept.live.name} was not received whole", reason=Reason.STATE)
        if kept.moving is Moving.RECEIVED:
            if kept.spec is not None and disks:
                spec = msgspec.structs.replace(kept.spec, disks=tuple(disks))
                if freed is not None:
                    await freed
                await self._inherit(spec)
                self._keep(msgspec.structs.replace(kept, spec=spec, disks=spec.disks))
                self._mirror(uuid, disks)
            self._move(uuid, Moving.NO, GuestState.RUNNING)
        return self._guests[uuid].live

    async def take_back(self, uuid: Uuid) -> None:
        """It runs here."""
        kept = self._guests.get(uuid)
        if kept is not None and kept.live.up and kept.moving is Moving.SENT:
            self._mirror(uuid, kept.disks)
            self._move(uuid, Moving.NO, GuestState.RUNNING)

    async def drop(self, uuid: Uuid) -> None:
        """It is ended, if it was sent, or waits."""
        kept = self._guests.get(uuid)
        if kept is not None and kept.live.up and kept.moving is not Moving.NO:
            self.happen(uuid, GuestState.STOPPED)

    def _mirror(self, uuid: Uuid, disks: Sequence[DiskSpec]) -> None:
        kept = self._guests[uuid]
        live = msgspec.structs.replace(kept.live, mirrors=fake_mirrors.of(disks))
        self._keep(msgspec.structs.replace(kept, live=live))

    def _move(self, uuid: Uuid, moving: Moving, state: GuestState | None = None) -> None:
        kept = self._guests[uuid]
        live = kept.live
        if state is not None:
            live = msgspec.structs.replace(live, state=state, since=time.time())
        self._keep(msgspec.structs.replace(kept, live=live, moving=moving))
        if state is not None:
            self._changed(live)


def _whole(kept: Kept) -> Whole:
    return tuple((disk.uuid, target.node) for disk in kept.disks for target in disk.targets)
