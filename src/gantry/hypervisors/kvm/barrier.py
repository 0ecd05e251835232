"""No write of a guest's device gets to its disk: the guest stops at the first one.

QEMU fails the write, which stops the guest (a mirrored disk has ``werror=stop``) and is made again
when it goes on. So a guest that QEMU lets run at a moment that is not ours harms nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final

from gantry.hypervisors.kvm import layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts

_EIO: Final = 5
_WRITES: Final = ("write", "write-zeroes", "discard")


async def bar(monitor: Monitor, indexes: Collection[int]) -> None:
    """From now on, for those disks; the guest stands still. Again: it is so already."""
    names = await layers.names(monitor)
    missing = [index for index in indexes if _name(index) not in names]
    await asyncio.gather(
        *(
            # Where the first is refused so is the second.
            monitor.execute_all([_adding(names, index), layers.moving(index, _name(index))])
            for index in missing
        )
    )


def _adding(names: Collection[str], index: int) -> tuple[str, dict[str, Any]]:
    found = layers.among(names, index)
    return "blockdev-add", {
        "driver": "blkdebug",
        "node-name": _name(index),
        "image": found.node(found.top),
        "inject-error": [
            {"event": "none", "iotype": kind, "errno": _EIO, "once": False} for kind in _WRITES
        ],
    }


async def lower(monitor: Monitor, index: int) -> None:
    """Writes pass; the guest stands still. Again: they do already."""
    if not await there(monitor, index):
        return
    found = await layers.found(monitor, index)
    await layers.move_device(monitor, index, found.node(found.top))
    await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": _name(index)})


async def there(monitor: Monitor, index: int) -> bool:
    """Whether it is."""
    return _name(index) in await layers.names(monitor)


def top(nodes: Collection[str], index: int) -> str:
    """The highest node of a disk, of the names of all nodes. Pure."""
    found = layers.among(nodes, index)
    return _name(index) if _name(index) in nodes else found.node(found.top)


def _name(index: int) -> str:
    return f"barrier{index}"
