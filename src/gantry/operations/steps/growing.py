"""Growing a mirrored disk: room everywhere, the size in the store, the replicas, the primary.

A replica never has more than the store says, since QEMU mirrors nothing between disks of
different sizes; one that has less grows when it is opened, for which there is room by then.
"""

from __future__ import annotations

import msgspec

from gantry.model import timeouts
from gantry.model.disk_orders import DiskGrow
from gantry.model.entities import Instance
from gantry.model.errors import Cancelled, ErrorInfo, GantryError, OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReplicaGrow, ReplicaReserve
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps import checks, mirrors, specs
from gantry.operations.steps.mirrors import IN_SYNC, STALE, Copy, Mirroring
from gantry.operations.steps.tolerating import succeeds
from gantry.ports.steps import Changes, Effect, Steps, Undo


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """``copies`` are the replicas that grow now; the others do when they are copied."""

    before: Instance
    after: Instance
    index: int
    mirroring: Mirroring
    copies: tuple[Copy, ...]

    @property
    def nodes(self) -> tuple[Uuid, ...]:
        """All on which it grows, the primary first."""
        return (self.before.primary_node, *(copy.node for copy in self.copies))


def plan(cluster: Snapshot, before: Instance, after: Instance, index: int) -> Growth:
    """Which replicas grow with it; Rejected where that cannot be."""
    what = f"grow disk {index} of instance {before.name}"
    whole = mirrors.required(cluster, before, what)
    if whole.active:
        raise Rejected(
            f"cannot {what}: its disks are active",
            f"gnt-instance deactivate-disks {before.name}",
            reason=Reason.STATE,
            object_name=before.name,
        )
    found = whole.disks[index].copies
    if checks.running(cluster, before):
        _in_order(before, index, found, what)
    copies = tuple(copy for copy in found if copy.state is IN_SYNC and copy.there)
    return Growth(before=before, after=after, index=index, mirroring=whole, copies=copies)


def _in_order(before: Instance, index: int, copies: tuple[Copy, ...], what: str) -> None:
    """What the guest's writes wait for is there as a whole."""
    for copy in copies:
        why = ""
        if copy.state is not STALE and not copy.there:
            why = f"node {copy.name}, which has a replica of disk {index}, does not answer"
        elif copy.state not in (STALE, IN_SYNC):
            why = f"the replica of disk {index} on {copy.name} is just being copied"
        if why:
            raise Rejected(
                f"cannot {what}: {why}",
                f"gnt-instance info {before.name} shows its replicas; try again when they are in "
                "sync, or left behind",
                reason=Reason.STATE,
                node=copy.name,
                object_name=before.name,
            )


async def examined(growth: Growth, ask: Examiner) -> Growth:
    """The primary's replica is what the store says, or Rejected."""
    before = growth.before
    purpose = f"grow disk {growth.index} of instance {before.name}"
    found = await mirrors.examined(growth.mirroring, before, ask, purpose)
    if found.pending:
        raise Rejected(
            f"cannot {purpose}: its node has not heard yet that its replica is the primary's",
            f"gnt-instance startup {before.name} tells it",
            reason=Reason.STATE,
            object_name=before.name,
        )
    return growth


async def grow(steps: Steps, growth: Growth) -> ErrorInfo | None:
    """Gives back what kept the primary from growing, once nothing can be taken back any more."""
    index, before = growth.index, growth.before
    disk = specs.disk(index, before.disks[index])
    larger = specs.disk(index, growth.after.disks[index])
    names = ("", *(f"/{copy.name}" for copy in growth.copies))
    effects = [
        Effect(
            name=f"reserve-space/{index}{name}",
            node=node,
            order=ReplicaReserve(disk=disk, size=larger.size),
            undo=Undo(node, ReplicaReserve(disk=disk, size=disk.size)),
        )
        for name, node in zip(names, growth.nodes, strict=True)
    ]
    await steps.all(effects, timeout=timeouts.FAST)
    first: Changes | None = Changes(put=(growth.after,))
    for copy in growth.copies:
        name = f"grow-replica/{index}/{copy.name}"
        later = f"the replica on node {copy.name} grows when it is opened"
        await succeeds(steps, name, copy.node, ReplicaGrow(disk=larger), later, first=first)
        first = None
    order = DiskGrow(disk=disk, size=larger.size, guest=before.uuid, hypervisor=before.hypervisor)
    try:
        await steps.do(f"grow-disk/{index}", before.primary_node, order, first=first)
    except Cancelled:
        raise
    except GantryError as error:
        return _unseen(growth, larger.size, error)
    return None


def _unseen(growth: Growth, size: int, error: GantryError) -> ErrorInfo:
    name = growth.before.name
    return OperationFailed(
        f"disk {growth.index} of instance {name} has {size} MiB from its next start on; until then "
        f"the guest sees what it saw: {error.message}",
        f"try once more: gnt-instance grow-disk --absolute {name} {growth.index} {size}M",
        reason=Reason.ENVIRONMENT,
        object_name=name,
    ).info()
