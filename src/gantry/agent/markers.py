"""What the processes of an order are known by: a variable in their environment.

It is noted down before they begin, and says afterwards what was interrupted.
"""

from __future__ import annotations

from typing import Final

from gantry.agent.transfer_programs import NAME
from gantry.model import power
from gantry.model.image_orders import ImageWrite
from gantry.model.orders import (
    AnyOrder,
    HooksRun,
    OsCreate,
    OsInstall,
    OsRename,
    PowerRun,
    TransferSend,
)

_INSTANCE: Final = "INSTANCE_UUID"


def of(order: AnyOrder) -> str:
    """``NAME=value``: what tells the order's processes from all others.

    Of each order whose ``after_death`` speaks of processes.
    """
    if isinstance(order, HooksRun):
        return f"GANTRY_RUN_ID={order.run_id}"
    if isinstance(order, TransferSend):
        return f"{NAME}={order.transfer}"
    if isinstance(order, PowerRun):
        return f"{power.MARKER}={order.run}"
    if isinstance(order, ImageWrite):
        return f"{_INSTANCE}={order.instance}"
    if isinstance(order, OsCreate | OsInstall | OsRename):
        return f"{_INSTANCE}={order.run.uuid}"
    raise NotImplementedError(f"processes of {type(order).__name__} are known by nothing")


def when(marker: str) -> str:
    """During what an agent died, in words. Raw disks are sent by QEMU's programs alone."""
    transfer = marker.startswith(f"{NAME}=")
    return "in the middle of a transfer" if transfer else "while the script ran"
