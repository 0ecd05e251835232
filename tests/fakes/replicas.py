"""Replicas of mirrored disks on a fake node: ready at once, lost where a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.hypervisors import fake_mirrors
from gantry.model.backup_orders import Peer
from gantry.model.entities import DiskTemplate, ReplicaState
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestLive, GuestState, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate, DiskGrow, DiskSpec
from gantry.model.replica_orders import (
    DisksActivate,
    DisksDeactivate,
    MirrorAttach,
    MirrorRelease,
    MirrorWait,
    ReadReplicas,
    ReplicaClose,
    ReplicaForgo,
    ReplicaGrow,
    ReplicaMark,
    ReplicaPrepare,
    ReplicaPrepared,
    ReplicaReserve,
    ReplicaSeen,
    ReplicaServe,
    ReplicaServed,
    ReplicasLook,
    ReplicasSeen,
)
from gantry.model.specs import MirrorTarget

if TYPE_CHECKING:
    from tests.fakes.world import FakeNode


class FakeReplica(msgspec.Struct):
    """One replica and its record. ``problem``: what a test says is wrong with it."""

    disk: Uuid
    generation: int
    state: ReplicaState
    clean: bool = True
    served: Peer | None = None
    host: str = ""
    port: int = 0
    problem: str = ""
    reserved: int = 0
    """MiB that are kept for it beyond what it has."""
    next: ReplicaPrepare | None = None
    """What it is ready for, to be served at ``next_port``."""
    next_port: int = 0


class FakeReplicas:
    """Those of one node, by the disk's path."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.found: dict[str, FakeReplica] = {}
        self.active: dict[Uuid, tuple[DisksActivate, GuestLive]] = {}
        """Disks of instances that are not up, by instance, and what is told of them."""
        self.others: Callable[[], dict[Uuid, FakeNode]] = dict
        """All nodes of the world."""
        self.broken: list[str] = []
        """Mirrors that began with other content than the primary's, which must never be."""
        self._port = 40000
        self.orders: dict[type, Callable[[Any], msgspec.Struct | None]] = {
            ReplicaServe: self._serve,
            ReplicaPrepare: self._prepare,
            ReplicaForgo: self._forgo,
            ReplicaClose: self._close,
            ReplicaMark: self._mark,
            ReplicaReserve: self._reserve,
            ReplicaGrow: lambda order: self._grow(self._known(order.disk), order.disk.size),
            MirrorAttach: self._attach,
            MirrorRelease: self._release,
            DisksActivate: self._activate,
            DisksDeactivate: lambda order: self.deactivate(order.guest),
            ReplicasLook: self._read,
            MirrorWait: self._wait,
        }
        self.questions: dict[type, Callable[[Any], msgspec.Struct]] = {ReadReplicas: self._read}

    def state(self) -> dict[str, object]:
        """What counts of them."""
        return {
            "replicas": {
                path: (one.generation, one.served and one.served.node)
                for path, one in self.found.items()
            },
            "active disks": {guest: order.disks for guest, (order, _) in self.active.items()},
        }

    def told(self) -> dict[Uuid, GuestLive]:
        """What is told of instances whose disks are active."""
        return {guest: live for guest, (_, live) in self.active.items()}

    def lose(self, guest: Uuid, node: Uuid) -> None:
        """Its mirrors on that node do not answer any more; event streams are told."""
        self._become(fake_mirrors.lost(self._live(guest), node, "it does not answer"))

    # What happens to disks and guests

    def created(self, disk: DiskSpec) -> None:
        """A new disk."""
        if disk.template is DiskTemplate.MIRROR:
            self.found[disk.path] = FakeReplica(disk.uuid, disk.generation, ReplicaState.IN_SYNC)

    def removed(self, path: str) -> None:
        """A disk that is gone."""
        self.found.pop(path, None)

    def moved(self, source: str, target: str) -> None:
        """A disk that has another path."""
        if source in self.found:
            self.found[target] = self.found.pop(source)

    def opened(self, disks: tuple[DiskSpec, ...]) -> None:
        """Somebody here is about to write to them; Rejected where that must not be."""
        mirrored = [disk for disk in disks if disk.template is DiskTemplate.MIRROR]
        for disk in mirrored:
            found = self.found.get(disk.path)
            why = self._problem(disk)
            if found is not None and not why:
                if found.served is not None:
                    why = f"it is served to {found.served.name}"
                elif found.state is not ReplicaState.IN_SYNC:
                    why = f"it is {found.state}, and not in sync"
                elif not found.clean and any(not target.full for target in disk.targets):
                    why = "it was not closed in order"
            if why:
                raise _unfit(disk, why)
        for disk in mirrored:
            self.found[disk.path].clean = False
            self._grow(disk, disk.size)

    def closed(self, disks: tuple[DiskSpec, ...]) -> None:
        """They were closed in order."""
        for disk in disks:
            if disk.path in self.found:
                self.found[disk.path].clean = True

    def mirrored(self, disks: tuple[DiskSpec, ...]) -> None:
        """What is written here is there as well from now on: a copy takes no time."""
        for disk in disks:
            for target in disk.targets:
                self._copied(disk, target)

    def taken_over(self, disk: DiskSpec) -> None:
        """A file that a guest has open is the primary's replica."""
        self.found[disk.path] = FakeReplica(
            disk.uuid, disk.generation, ReplicaState.IN_SYNC, clean=False
        )

    def plugged(self, guest: Uuid, disk: DiskSpec) -> None:
        """A guest that runs has one more disk."""
        if disk.template is DiskTemplate.MIRROR:
            self.opened((disk,))
            self.mirrored((disk,))
            live = self._live(guest)
            mirrors = (*live.mirrors, *fake_mirrors.of((disk,)))
            self._become(msgspec.structs.replace(live, mirrors=mirrors))

    def unmirrored(self, guest: Uuid, disk: Uuid) -> None:
        """Nothing is mirrored of a disk any more."""
        live = self._live(guest)
        for one in live.mirrors:
            if one.disk == disk:
                live = fake_mirrors.released(live, disk, one.node)
        self._become(live)

    def _copied(self, disk: DiskSpec, target: MirrorTarget) -> None:
        other = self.others().get(target.node)
        found = other.replicas.found.get(disk.path) if other is not None else None
        if other is None or found is None or disk.path not in self._node.disks:
            return
        mine, theirs = self._node.disks[disk.path], other.disks[disk.path]
        if target.full:
            theirs.content = mine.content
        served = self._there(disk, target.node)
        if theirs.spec.size != mine.spec.size:
            self.broken.append(f"{disk.path} is larger on one of {self._node.name}, {other.name}")
        if theirs.content != mine.content or not served:
            self.broken.append(f"{disk.path} of {self._node.name} on {other.name}")

    # Orders

    def _serve(self, order: ReplicaServe) -> ReplicaServed:
        disk = _mirrored(order.disk)
        found = self.found.get(disk.path)
        if found is not None and found.next is not None and found.next.disk == disk:
            return self._serve_next(found, order)
        self._free(disk, found, order)
        why = self._problem(disk)
        if why and not order.overwrite:
            raise _unfit(disk, why)
        if disk.path not in self._node.disks:
            self._node.create_disk(DiskCreate(disk=disk))
        self._grow(disk, disk.size)
        if found is None or order.overwrite:
            made = FakeReplica(disk.uuid, disk.generation, ReplicaState.SYNCING)
            made.served, made.port = (found.served, found.port) if found else (None, 0)
            found = self.found[disk.path] = made
        if found.served is None:
            self._port += 1
            found.served, found.port = order.peer, self._port
        found.host, found.clean = order.host, False
        return ReplicaServed(port=found.port)

    def _free(self, disk: DiskSpec, found: FakeReplica | None, order: ReplicaServe) -> None:
        """It may be served to that peer, or Rejected."""
        if found is not None and found.served is not None:
            if (found.served.node, found.host) != (order.peer.node, order.host):
                raise Rejected(f"{disk.path} is served to {found.served.name}", reason=Reason.STATE)
        elif any(
            disk.path in [each.path for each in guest.spec.disks]
            and guest.live.up
            and guest.moving not in ("awaited", "sent")
            for guest in self._node.guests.values()
        ):
            raise Rejected("a guest here writes to it itself", reason=Reason.STATE)

    def _serve_next(self, found: FakeReplica, order: ReplicaServe) -> ReplicaServed:
        found.generation, found.port = order.disk.generation, found.next_port
        found.served, found.host = order.peer, order.host
        found.next, found.clean = None, False
        return ReplicaServed(port=found.port)

    def _prepare(self, order: ReplicaPrepare) -> ReplicaPrepared:
        disk = _mirrored(order.disk)
        self._known(msgspec.structs.replace(disk, generation=disk.generation - 1))
        found = self.found[disk.path]
        if found.state is not ReplicaState.IN_SYNC:
            raise _unfit(disk, f"it is {found.state}, and not in sync")
        if found.next is None:
            self._port += 1
            found.next, found.next_port = order, self._port
        return ReplicaPrepared(port=found.next_port, content="0")

    def _forgo(self, order: ReplicaForgo) -> None:
        found = self.found.get(_mirrored(order.disk).path)
        if found is not None:
            found.next = None

    def inherit(self, disks: tuple[DiskSpec, ...]) -> None:
        """What another node wrote here is written by a guest here from now on."""
        for disk in disks:
            found = self.found[_mirrored(disk).path]
            if disk.generation not in (found.generation, found.generation + 1):
                raise _unfit(disk, f"it is of generation {found.generation}")
            found.generation, found.served, found.clean = disk.generation, None, False

    def called(self, disks: tuple[DiskSpec, ...]) -> tuple[DiskSpec, ...]:
        """The disks with those targets that serve them to this node."""
        return tuple(
            msgspec.structs.replace(
                disk, targets=tuple(one for one in disk.targets if self._there(disk, one.node))
            )
            for disk in disks
        )

    def told_lost(self, live: GuestLive, disks: tuple[DiskSpec, ...]) -> GuestLive:
        """The guest with these disks, of whose targets some are not there."""
        live = msgspec.structs.replace(live, mirrors=fake_mirrors.of(disks))
        for disk in disks:
            for target in disk.targets:
                if not self._there(disk, target.node):
                    live = fake_mirrors.lost(live, target.node, "it does not answer")
        return live

    def _there(self, disk: DiskSpec, node: Uuid) -> bool:
        other = self.others().get(node)
        found = other.replicas.found.get(disk.path) if other is not None else None
        served = found.served if found is not None else None
        return served is not None and served.node == self._node.uuid

    def _close(self, order: ReplicaClose) -> None:
        found = self.found.get(_mirrored(order.disk).path)
        if found is not None:
            found.next = None
        if found is not None and found.served is not None:
            found.served, found.clean = None, True

    def _mark(self, order: ReplicaMark) -> None:
        disk = _mirrored(order.disk)
        found = self.found.get(disk.path)
        wanted = (disk.uuid, disk.generation, order.state)
        if found is not None and (found.disk, found.generation, found.state) == wanted:
            return
        known = (disk.uuid, order.generation)
        fits = found is not None and (found.disk, found.generation) == known
        if disk.path not in self._node.disks or not (fits or order.force):
            raise _unfit(disk, "it is another one, or not there")
        if found is None:
            self.found[disk.path] = FakeReplica(disk.uuid, disk.generation, order.state)
        else:
            found.disk, found.generation, found.state = wanted

    def _known(self, disk: DiskSpec) -> DiskSpec:
        why = self._problem(_mirrored(disk))
        if why:
            raise _unfit(disk, why)
        return disk

    def _reserve(self, order: ReplicaReserve) -> None:
        disk = self._known(order.disk)
        more = order.size - self._node.disks[disk.path].spec.size
        if more > self._node.facts().disk_free:
            raise OperationFailed("it does not fit", reason=Reason.NO_RESOURCES)
        self.found[disk.path].reserved = max(more, 0)

    def _grow(self, disk: DiskSpec, size: int) -> None:
        found = self._node.disks[disk.path]
        if found.spec.size < size:
            found.spec = msgspec.structs.replace(found.spec, size=size)
            self.found[disk.path].reserved = 0

    def grow(self, order: DiskGrow) -> None:
        """The primary's replica; one that is not as large is lost to a guest that runs."""
        disk = self._known(order.disk)
        self._grow(disk, order.size)
        guest = self._node.guests.get(order.guest)
        for one in guest.live.mirrors if guest is not None and guest.live.up else ():
            there = self.others()[one.node].disks[disk.path]
            if one.disk == disk.uuid and there.spec.size != order.size:
                self.lose(order.guest, one.node)

    def _attach(self, order: MirrorAttach) -> None:
        disk = self._disk(order.guest, order.index)
        live = self._live(order.guest)
        self._copied(disk, order.target)
        self._become(fake_mirrors.attached(live, disk.uuid, order.target.node))

    def _release(self, order: MirrorRelease) -> None:
        if self._node.is_up(order.guest) or order.guest in self.active:
            disk = self._disk(order.guest, order.index)
            live = self._live(order.guest)
            self._become(fake_mirrors.released(live, disk.uuid, order.node))

    def _wait(self, order: MirrorWait) -> None:
        live = self._live(order.guest)
        ready = [
            one
            for one in live.mirrors
            if (one.disk, one.node, one.phase) == (order.disk, order.node, MirrorPhase.READY)
        ]
        if not ready:
            raise OperationFailed("nothing is mirrored there any more")

    def _activate(self, order: DisksActivate) -> None:
        if self._node.is_up(order.guest):
            raise Rejected(f"{order.name} is up", reason=Reason.STATE)
        if order.guest in self.active:
            return
        self.opened(order.disks)
        self.mirrored(order.disks)
        live = GuestLive(uuid=order.guest, name=order.name, state=GuestState.STOPPED)
        self.active[order.guest] = (order, live)
        self._become(msgspec.structs.replace(live, mirrors=fake_mirrors.of(order.disks)))

    def deactivate(self, guest: Uuid) -> None:
        """They are closed; a guest's start does so as well."""
        if guest in self.active:
            order, live = self.active.pop(guest)
            self.closed(order.disks)
            gone = msgspec.structs.replace(live, mirrors=())
            self._node.tell_guest(gone, forgotten=guest not in self._node.guests)

    def _read(self, question: ReadReplicas | ReplicasLook) -> ReplicasSeen:
        return ReplicasSeen(replicas=tuple(self._seen(disk) for disk in question.disks))

    def _seen(self, disk: DiskSpec) -> ReplicaSeen:
        there = _mirrored(disk).path in self._node.disks
        found = self.found.get(disk.path)
        if found is None or found.disk != disk.uuid:
            problem = self._problem(disk) if there else ""
            return ReplicaSeen(disk=disk.uuid, there=there, problem=problem)
        return ReplicaSeen(
            disk=disk.uuid,
            there=there,
            generation=found.generation if found.next is None else disk.generation,
            state=found.state,
            clean=found.clean,
            serving=found.served.node if found.served else None,
            problem=self._problem(disk),
        )

    def _problem(self, disk: DiskSpec) -> str:
        found = self.found.get(disk.path)
        if disk.path not in self._node.disks:
            return "it is not there"
        if found is None:
            return "it has no record of whose it is"
        if found.disk != disk.uuid:
            return f"it belongs to another disk ({found.disk})"
        known = (found.generation, found.next.disk.generation if found.next is not None else 0)
        if disk.generation not in known:
            return f"it is of generation {found.generation}, not {disk.generation}"
        return found.problem

    def _disk(self, guest: Uuid, index: int) -> DiskSpec:
        disks = (
            self.active[guest][0].disks
            if guest in self.active
            else self._node.guests[guest].spec.disks
        )
        for disk in disks:
            if disk.index == index:
                return disk
        raise Rejected(f"there is no disk {index}", reason=Reason.UNKNOWN)

    def _live(self, guest: Uuid) -> GuestLive:
        if guest in self.active:
            return self.active[guest][1]
        if not self._node.is_up(guest):
            raise Rejected("the guest is not running", reason=Reason.STATE)
        return self._node.guests[guest].live

    def _become(self, live: GuestLive) -> None:
        if live == self._live(live.uuid):
            return
        if live.uuid in self.active:
            self.active[live.uuid] = (self.active[live.uuid][0], live)
        else:
            self._node.guests[live.uuid].live = live
        self._node.tell_guest(live)


def _mirrored(disk: DiskSpec) -> DiskSpec:
    if disk.template is not DiskTemplate.MIRROR:
        raise Rejected(f"disk {disk.index} is of template {disk.template}, which has no replicas")
    return disk


def _unfit(disk: DiskSpec, why: str) -> Rejected:
    return Rejected(
        f"the replica {disk.path} of disk {disk.index} cannot be used: {why}", reason=Reason.STATE
    )
