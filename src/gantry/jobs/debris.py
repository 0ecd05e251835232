"""Orders that are owed to nodes: cleaning after a commit, undos that did not get through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from gantry.jobs import codec, doubts, issue
from gantry.jobs.codec import DebrisRecord
from gantry.jobs.context import Context
from gantry.jobs.locks import FIRST
from gantry.model import rollout, timeouts
from gantry.model.backup_orders import (
    ExportDiscard,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    SnapshotClose,
)
from gantry.model.entities import AdminState, Instance, ReplicaState
from gantry.model.errors import GantryError, Rejected, Superseded
from gantry.model.increment_orders import ChangesClose, ExportRestore, MarksDrop
from gantry.model.locks import Needs
from gantry.model.locks import instance as instance_lock
from gantry.model.moving_orders import GuestDrop, GuestTakeBack
from gantry.model.names import Uuid
from gantry.model.orders import (
    BundleRestore,
    DiskConvert,
    DiskPlug,
    DiskRemove,
    DiskUnplug,
    GuestForget,
    GuestReset,
    GuestStart,
    GuestStop,
    NodeLeave,
    Order,
)
from gantry.model.replica_orders import MirrorRelease, ReplicaClose
from gantry.model.snapshot import Snapshot
from gantry.ports.store import Delete

logger = logging.getLogger(__name__)


class Debris:
    """What is owed, in memory and in the store; tried again when its node speaks, and later on."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owed: dict[str, DebrisRecord] = {}
        self._trying: set[Uuid] = set()
        self._failures: dict[Uuid, int] = {}
        self._timers: dict[Uuid, asyncio.TimerHandle] = {}
        self._closed = False

    def add(self, key: str, record: DebrisRecord) -> None:
        """The store has ``record`` under ``key``; it is not tried now, but soon."""
        self._owed[key] = record
        self._note()
        self._later(record.to.node)

    def recall(self, owed: Mapping[str, DebrisRecord]) -> None:
        """What an earlier master left; nothing is tried yet."""
        self._owed.update(owed)
        self._note()

    def all_back(self) -> None:
        """Try all of it."""
        for node in {record.to.node for record in self._owed.values()}:
            self.node_back(node)

    def close(self) -> None:
        """Try nothing any more."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def owed(self) -> dict[str, DebrisRecord]:
        """All of it."""
        return dict(self._owed)

    def node_back(self, node: Uuid) -> None:
        """A node answers: carry out what is owed to it, in the order in which it was made."""
        keys = [key for key, record in self._owed.items() if record.to.node == node]
        if keys and node not in self._trying and not self._closed:
            self._trying.add(node)
            self._context.background.start(self._again(node, keys))

    async def carry_out(self, key: str, record: DebrisRecord) -> str:
        """Do it once; what went wrong in words, or nothing. The store is not told."""
        turn = self._context.clock.random_bytes(6).hex()
        prefix = f"{key.removeprefix(codec.DEBRIS)}/debris/"
        envelope = self._context.envelope(f"{prefix}{turn}", record.job, timeouts.NORMAL)
        try:
            async with asyncio.timeout(timeouts.NORMAL + timeouts.CONNECT):
                order: Order[Any] = record.order
                await self._context.agents.order(record.to, envelope, order)
            issue.forget_all(self._context, record.to, prefix)
        except TimeoutError:
            return f"node {record.to.name} did not answer in time"
        except Superseded as error:
            raise self._context.journal.superseded(error) from error
        except Rejected as error:
            # A machine that has left refuses to be told so again.
            return "" if isinstance(record.order, NodeLeave) else error.message
        except GantryError as error:
            return error.message
        return ""

    async def _again(self, node: Uuid, keys: Iterable[str]) -> None:
        stuck: set[str] = set()
        try:
            for key in keys:
                # What a job left behind is cleaned in order: first the guest, then its disk.
                job = key.split("/")[1]
                if job not in stuck and not await self._try(key, self._owed[key]):
                    stuck.add(job)
        finally:
            self._trying.discard(node)
        if stuck:
            self._failures[node] = self._failures.get(node, 0) + 1
            self._later(node)
        else:
            self._failures.pop(node, None)

    async def _try(self, key: str, record: DebrisRecord) -> bool:
        """Whether it is not owed any more. Who changes the instance now, keeps its lock."""
        locks = self._context.locks
        request = locks.request(
            record.job, FIRST, _needs(record, self._context.state.snapshot()), slot=False
        )
        try:
            cluster = self._context.state.snapshot()
            if not request.granted or doubts.where(record.order, record.to.node, cluster):
                return False
            if self._mirrored_to(record, cluster):
                return False
            if _due(record, cluster):
                problem = await self.carry_out(key, record)
                if problem:
                    logger.warning("owed to node %s: %s", record.to.name, problem)
                    return False
            await self._context.journal.write([Delete(key)])
            del self._owed[key]
            self._note()
            self._unblocked(record)
            return True
        finally:
            locks.release(request)

    def _mirrored_to(self, record: DebrisRecord, cluster: Snapshot) -> bool:
        """Whether a guest is to let go of that replica first, and can be told so now."""
        return isinstance(record.order, ReplicaClose | DiskRemove) and any(
            other.job == record.job
            and isinstance(other.order, MirrorRelease | DiskUnplug | DiskConvert)
            and other.to.node in cluster.nodes
            and ((live := cluster.live.get(other.to.node)) is None or live.reachable)
            for other in self._owed.values()
        )

    def _note(self) -> None:
        """What is owed changed."""
        now = doubts.doubtful(self._owed.values())
        if now != self._context.state.doubtful:
            self._context.state.doubtful = now

    def _unblocked(self, record: DebrisRecord) -> None:
        """A guest has ended, or lets go of a replica: what waited for that can be done now."""
        if isinstance(record.order, GuestStop):
            for other in tuple(self._owed.values()):
                order = other.order
                if isinstance(order, GuestStart) and order.spec.uuid == record.order.uuid:
                    self.node_back(other.to.node)
        if isinstance(record.order, MirrorRelease | DiskUnplug | DiskConvert):
            for other in tuple(self._owed.values()):
                if other.job == record.job:
                    self.node_back(other.to.node)

    def _later(self, node: Uuid) -> None:
        """Try again after a while, which is longer each time."""
        if self._closed or node in self._timers:
            return
        pauses = timeouts.OWED_PAUSES
        pause = pauses[min(self._failures.get(node, 0), len(pauses) - 1)]
        loop = asyncio.get_running_loop()
        self._timers[node] = loop.call_later(pause, self._time_is_up, node)

    def _time_is_up(self, node: Uuid) -> None:
        self._timers.pop(node, None)
        live = self._context.state.snapshot().live.get(node)
        # One that does not answer will say when it is back.
        if live is None or live.reachable:
            self.node_back(node)


def _due(record: DebrisRecord, cluster: Snapshot) -> bool:
    """Whether the order still makes sense; the cluster may have changed since it was made."""
    order, node = record.order, record.to.node
    if isinstance(order, GuestStart | GuestTakeBack):
        # It may have been started elsewhere since.
        found = cluster.instances.get(
            order.uuid if isinstance(order, GuestTakeBack) else order.spec.uuid
        )
        return (
            found is not None and found.admin_state is AdminState.UP and found.primary_node == node
        )
    if isinstance(order, GuestStop | GuestForget):
        found = cluster.instances.get(order.uuid)
        # The operator has started it since: it is not to be stopped for an old job.
        return found is None or found.admin_state is not AdminState.UP or found.primary_node != node
    if isinstance(order, DiskPlug | DiskUnplug | DiskConvert):
        return _guest_lacks(order, node, cluster)
    if isinstance(order, DiskRemove) and order.disk.uuid in cluster.mirrors:
        # A replica that was removed, and may have come back to that node since.
        return node not in cluster.mirrors[order.disk.uuid].replicas
    if isinstance(order, ReplicaClose | MirrorRelease):
        return _unused(order, node, cluster)
    if isinstance(order, DiskRemove):
        return not any(
            disk.uuid == order.disk.uuid or disk.path == order.disk.path
            for one in cluster.instances.values()
            if one.primary_node == node
            for disk in one.disks
        )
    if isinstance(order, BundleRestore):
        # Something else has been pushed to the node since.
        wanted = rollout.wanted_hash(cluster, order.target, node)
        return wanted is None or wanted == order.sha256
    return True


def _guest_lacks(order: DiskPlug | DiskUnplug | DiskConvert, node: Uuid, cluster: Snapshot) -> bool:
    """Whether a guest on ``node`` may not have its disk as its record says.

    It may have been started anew since, with the disks of its record; or elsewhere.
    """
    found = cluster.instances.get(order.guest)
    if found is None or not _up(cluster, found, node):
        return False
    templates = {disk.uuid: disk.template for disk in found.disks}
    if isinstance(order, DiskConvert):
        return templates.get(order.disk.uuid) is order.disk.template
    return (order.disk.uuid in templates) is isinstance(order, DiskPlug)


def _up(cluster: Snapshot, instance: Instance, node: Uuid) -> bool:
    guest = cluster.guest(instance)
    return instance.primary_node == node and guest is not None and guest.up


def _unused(order: ReplicaClose | MirrorRelease, node: Uuid, cluster: Snapshot) -> bool:
    """Whether nobody mirrors to a replica any more: it may be in use anew."""
    if isinstance(order, ReplicaClose):
        mirror = cluster.mirrors.get(order.disk.uuid)
        if mirror is None or node not in mirror.replicas:
            return True
        found = cluster.instances.get(mirror.instance)
        guest = cluster.guest(found) if found is not None else None
        return guest is None or not guest.up
    found = cluster.instances.get(order.guest)
    disks = found.disks if found is not None else ()
    if found is None or found.primary_node != node or order.index >= len(disks):
        return False
    mirror = cluster.mirrors.get(disks[order.index].uuid)
    replica = mirror.replicas.get(order.node) if mirror is not None else None
    return replica is None or replica.state is not ReplicaState.IN_SYNC


def _needs(record: DebrisRecord, cluster: Snapshot) -> Needs:
    order = record.order
    if isinstance(order, GuestStart):
        return Needs.of(exclusive=[instance_lock(order.spec.uuid)])
    if isinstance(order, GuestStop | GuestReset | GuestForget | GuestTakeBack | GuestDrop):
        return Needs.of(exclusive=[instance_lock(order.uuid)])
    if isinstance(order, MirrorRelease | DiskPlug | DiskUnplug | DiskConvert):
        return Needs.of(exclusive=[instance_lock(order.guest)])
    if isinstance(order, DiskRemove | ReplicaClose) and order.disk.uuid in cluster.mirrors:
        return Needs.of(exclusive=[instance_lock(cluster.mirrors[order.disk.uuid].instance)])
    if isinstance(order, SnapshotClose | ChangesClose | MarksDrop):
        return Needs.of(exclusive=[instance_lock(order.guest)])
    if isinstance(
        order, ExportDiscard | ExportRemove | ExportRestore | ExportRevert | ExportSettle
    ):
        # Another export of it may be under way, in the same place.
        known = cluster.instance_names.get(order.instance)
        return Needs.of(exclusive=[instance_lock(known if known is not None else order.instance)])
    return Needs()
