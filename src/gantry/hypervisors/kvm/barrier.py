"""No write of a guest's device gets to its disk: the guest stops at the first one.

QEMU fails the write, which stops the guest (a mirrored disk has ``werror=stop``) and is made again
when it goes on. So a guest that QEMU lets run at a moment that is not ours harms nothing. Its node
is there before the guest stands still, beside what the device has its disk by; then the device is
moved to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from gantry.hypervisors.kvm import layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

_EIO: Final = 5
_WRITES: Final = ("write", "write-zeroes", "discard")


async def prepare(monitor: Monitor, indexes: Collection[int]) -> dict[int, str]:
    """It is there for those disks, and lets nothing through that nothing passes yet.

    Given back is what each was put on. Again: it is made anew.
    """
    await forget(monitor, indexes)
    names = await layers.names(monitor)
    await asyncio.gather(*(monitor.execute_all([_adding(names, index)]) for index in indexes))
    return {index: _below(names, index) for index in indexes}


async def bar(monitor: Monitor, indexes: Collection[int], prepared: Mapping[int, str]) -> None:
    """From now on, for those disks; the guest stands still. Again: it is so already.

    ``prepared``: what ``prepare`` gave back, to which nothing need be added in that moment.
    """
    if indexes and all(index in prepared for index in indexes):
        moves = [layers.moving(index, _name(index)) for index in indexes]
        with contextlib.suppress(OperationFailed):
            *_, nodes = await monitor.execute_all([*moves, layers.NAMING])
            names = layers.named(nodes)
            if all(_below(names, index) == prepared[index] for index in indexes):
                return
        # A layer has come between, with a mirror that is still there.
        for index in indexes:
            await lower(monitor, index)
    names = await layers.names(monitor)
    await asyncio.gather(*(_bar(monitor, names, index) for index in indexes))


async def _bar(monitor: Monitor, names: Collection[str], index: int) -> None:
    moving = layers.moving(index, _name(index))
    if _name(index) not in names:
        # Where the first is refused so is the second.
        await monitor.execute_all([_adding(names, index), moving])
    elif not await closed(monitor, index):
        await monitor.execute_all([moving])


async def forget(monitor: Monitor, indexes: Collection[int]) -> None:
    """It is not there where no device goes by way of it."""
    for index in indexes:
        if await there(monitor, index) and not await closed(monitor, index):
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": _name(index)})


async def closed(monitor: Monitor, index: int) -> bool:
    """Whether the device's writes are stopped by it."""
    return await layers.of_device(monitor, index) == _name(index)


def _adding(names: Collection[str], index: int) -> tuple[str, dict[str, Any]]:
    return "blockdev-add", {
        "driver": "blkdebug",
        "node-name": _name(index),
        "image": _below(names, index),
        "inject-error": [
            {"event": "none", "iotype": kind, "errno": _EIO, "once": False} for kind in _WRITES
        ],
    }


async def lower(monitor: Monitor, index: int) -> None:
    """Writes pass; the guest stands still. Again: they do already."""
    if not await there(monitor, index):
        return
    if await closed(monitor, index):
        found = await layers.found(monitor, index)
        await layers.move_device(monitor, index, found.node(found.top))
    await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": _name(index)})


async def there(monitor: Monitor, index: int) -> bool:
    """Whether it is."""
    return _name(index) in await layers.names(monitor)


def top(nodes: Collection[str], index: int) -> str:
    """The highest node of a disk, of the names of all nodes. Pure."""
    return _name(index) if _name(index) in nodes else _below(nodes, index)


def _below(nodes: Collection[str], index: int) -> str:
    found = layers.among(nodes, index)
    return found.node(found.top)


def _name(index: int) -> str:
    return f"barrier{index}"
