"""Guests that come to another node of a world in memory as they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.hypervisors import fake_mirrors
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestLive, GuestState, MirrorPhase
from gantry.model.moving_orders import (
    Described,
    GuestDescribe,
    GuestDrop,
    GuestReceive,
    GuestResume,
    GuestSend,
    GuestTakeBack,
    Ports,
    Sent,
)
from gantry.model.names import Uuid
from gantry.ports.agents import GuestChanged

if TYPE_CHECKING:
    from tests.fakes.world import FakeNode

ACCELERATOR = "none"


class FakeMoving:
    """One node's part. ``nodes`` are all of its world."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.nodes: dict[Uuid, FakeNode] = {}
        self.lost_in_transit: set[str] = set()
        """Names of guests that do not come whole to this node."""
        self._sent: dict[Uuid, Sent] = {}
        self.orders: dict[type, Callable[[Any], msgspec.Struct | None]] = {
            GuestDescribe: self._describe,
            GuestReceive: self._receive,
            GuestSend: self._send,
            GuestResume: self._resume,
            GuestTakeBack: self._take_back,
            GuestDrop: self._drop,
        }

    def not_received(self, uuid: Uuid) -> None:
        """The guest is this node's own, or Rejected."""
        if self._node.guests[uuid].moving in ("awaited", "received"):
            raise Rejected("it is being received", reason=Reason.STATE)

    def _describe(self, order: GuestDescribe) -> Described:
        self._running(order.uuid)
        return Described(spec=self._node.guests[order.uuid].spec, accelerator=ACCELERATOR)

    def _receive(self, order: GuestReceive) -> Ports:
        from tests.fakes.world import FakeGuest

        if order.accelerator != ACCELERATOR:
            raise Rejected("it cannot go on here")
        known = self._node.guests.get(order.spec.uuid)
        if known is not None and known.live.up and known.moving != "awaited":
            raise Rejected("it is up here", reason=Reason.STATE)
        missing = [one.path for one in order.spec.disks if one.path not in self._node.disks]
        if missing:
            raise OperationFailed(f"{missing[0]} is not there")
        live = GuestLive(
            uuid=order.spec.uuid,
            name=order.spec.name,
            state=GuestState.PAUSED,
            since=self._node._tick(),
            memory=order.spec.memory,
            vcpus=order.spec.vcpus,
            pid=1,
        )
        self._node.guests[order.spec.uuid] = FakeGuest(order.spec, live, "awaited")
        self._node._tell(GuestChanged(guest=live))
        return Ports(memory=4444, disks=4445 if order.disks else 0)

    def _send(self, order: GuestSend) -> Sent:
        guest = self._node.guests.get(order.uuid)
        if guest is not None and guest.live.up and guest.moving == "sent":
            return self._sent[order.uuid]
        self._running(order.uuid)
        assert guest is not None
        there = self.nodes[order.peer.node]
        other = there.guests.get(order.uuid)
        if other is None or not other.live.up or other.moving != "awaited":
            raise OperationFailed("nobody waits for it there")
        for index in order.disks:
            path = guest.spec.disks[index].path
            there.disks[path].content = self._node.disks[path].content
        if guest.spec.name not in there.moving.lost_in_transit:
            other.moving = "received"
        whole: tuple[tuple[Uuid, Uuid], ...] = ()
        if order.mirrored:
            live, node = guest.live, order.peer.node
            ready = [one for one in live.mirrors if one.phase is MirrorPhase.READY]
            whole = tuple((one.disk, one.node) for one in ready)
            if not fake_mirrors.whole(live, node):
                raise OperationFailed("its disks are not in sync there")
            guest.live = msgspec.structs.replace(live, mirrors=())
        self._become(order.uuid, GuestState.PAUSED, "sent")
        self._sent[order.uuid] = Sent(whole=whole)
        return self._sent[order.uuid]

    def _resume(self, order: GuestResume) -> GuestLive:
        guest = self._node.guests.get(order.uuid)
        if guest is None or not guest.live.up:
            raise OperationFailed("it is not there, and may have run")
        if guest.moving == "awaited":
            self._node.end_guest(order.uuid, GuestState.STOPPED)
            raise Rejected("it was not received whole", reason=Reason.STATE)
        if guest.moving == "received":
            self._node.replicas.inherit(order.disks)
            if order.disks:
                self._node.replicas.mirrored(self._node.replicas.called(order.disks))
                guest.spec = msgspec.structs.replace(guest.spec, disks=order.disks)
                guest.live = self._node.replicas.told_lost(guest.live, order.disks)
            self._become(order.uuid, GuestState.RUNNING, "")
        return guest.live

    def _take_back(self, order: GuestTakeBack) -> None:
        guest = self._node.guests.get(order.uuid)
        if guest is not None and guest.live.up and guest.moving == "sent":
            self._mirror(order.uuid)
            self._become(order.uuid, GuestState.RUNNING, "")

    def _drop(self, order: GuestDrop) -> None:
        guest = self._node.guests.get(order.uuid)
        if guest is not None and guest.live.up and guest.moving:
            self._node.end_guest(order.uuid, GuestState.STOPPED)
        if guest is not None and order.forget and not guest.live.up:
            self._node._forget(order.uuid)

    def _mirror(self, uuid: Uuid) -> None:
        guest = self._node.guests[uuid]
        self._node.replicas.mirrored(guest.spec.disks)
        mirrors = fake_mirrors.of(guest.spec.disks)
        guest.live = msgspec.structs.replace(guest.live, mirrors=mirrors)

    def _become(self, uuid: Uuid, state: GuestState, moving: str) -> None:
        guest = self._node.guests[uuid]
        guest.moving = moving
        guest.live = msgspec.structs.replace(guest.live, state=state, since=self._node._tick())
        if state is GuestState.RUNNING:
            self._node.started(uuid)
        self._node._tell(GuestChanged(guest=guest.live))

    def _running(self, uuid: Uuid) -> None:
        guest = self._node.guests.get(uuid)
        if guest is None or guest.live.state is not GuestState.RUNNING:
            raise Rejected("it is not running", reason=Reason.STATE)
