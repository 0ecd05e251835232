"""Where guests may still run because an order to end them is owed; nothing is sent here.

A guest must never run twice. So none is started on a node while another node may run it: not by
an operation (``steps.checks``), and not by an undo or an owed order either, which ask here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gantry.jobs.codec import DebrisRecord
from gantry.model.moving_orders import GuestDrop, GuestTakeBack
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart, GuestStop, Order
from gantry.model.snapshot import Snapshot


def doubtful(owed: Iterable[DebrisRecord]) -> frozenset[tuple[Uuid, Uuid]]:
    """Guest and node of every end that is owed."""
    return frozenset(
        (record.order.uuid, record.to.node)
        for record in owed
        if isinstance(record.order, GuestStop)
    )


def where(
    order: Order[Any], node: Uuid, cluster: Snapshot, more: Iterable[DebrisRecord] = ()
) -> str:
    """The node that may run the guest which ``order`` would run on ``node``, or nothing.

    ``more`` are owed orders that the snapshot does not know of yet.
    """
    guest = _guest(order)
    if guest is None:
        return ""
    names = [one.name for one in cluster.may_run(guest, node)]
    names += [
        record.to.name
        for record in more
        if record.to.node != node
        and isinstance(record.order, GuestStop)
        and record.order.uuid == guest
    ]
    return names[0] if names else ""


def behind(order: Order[Any], node: Uuid, owed: Iterable[DebrisRecord]) -> bool:
    """Whether ``order`` would go on with a guest whose end on that very node is owed first.

    Its memory is older than its disks: the end is owed because it may have run elsewhere since.
    """
    guest = _guest(order)
    return guest is not None and any(
        record.to.node == node
        and isinstance(record.order, GuestDrop)
        and record.order.uuid == guest
        for record in owed
    )


def _guest(order: Order[Any]) -> Uuid | None:
    """The guest that the order would let run."""
    if isinstance(order, GuestTakeBack):
        return order.uuid
    return order.spec.uuid if isinstance(order, GuestStart) else None
