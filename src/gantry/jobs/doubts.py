"""Where guests may still run because an order to end them is owed; nothing is sent here.

A guest must never run twice. So none is started on a node while another node may run it: not by
an operation (``steps.checks``), and not by an undo or an owed order either, which ask here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gantry.jobs.codec import DebrisRecord
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
    """The node that may run the guest which ``order`` would start on ``node``, or nothing.

    ``more`` are owed orders that the snapshot does not know of yet.
    """
    if not isinstance(order, GuestStart):
        return ""
    names = [one.name for one in cluster.may_run(order.spec.uuid, node)]
    names += [
        record.to.name
        for record in more
        if record.to.node != node
        and isinstance(record.order, GuestStop)
        and record.order.uuid == order.spec.uuid
    ]
    return names[0] if names else ""
