"""Layers on top of a disk in QEMU, one for each mirror of it.

A mirror job wants a node that nothing but a device uses. So each has a layer (``raw``) of its
own on top of what was there: device, filter, layer, filter, layer, disk. The device is moved to
a new layer while the guest runs. The one with the highest number is the device's; what a mirror
that has ended leaves is a layer that passes on, and is used again by the next one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

NAMING: Final[tuple[str, Mapping[str, object]]] = ("query-named-block-nodes", {"flat": True})
"""The command whose answer has all nodes."""
_PART: Final = re.compile(r"(layer|filter)(\d+)\.(\d+)")


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """Those of one disk by number, and the ones of them that a mirror's filter is on."""

    index: int
    layers: frozenset[int]
    filters: frozenset[int]

    @property
    def top(self) -> int:
        """The highest; 0 where there is none."""
        return max(self.layers, default=0)

    @property
    def free(self) -> bool:
        """Whether the highest has no mirror."""
        return self.top != 0 and self.top not in self.filters

    def node(self, number: int) -> str:
        """What is to be put on that layer goes on this node; 0 is the disk."""
        if not number:
            return f"disk{self.index}"
        kind = "filter" if number in self.filters else "layer"
        return f"{kind}{self.index}.{number}"

    def below(self, number: int) -> str:
        """The node that this layer is on."""
        return self.node(max((one for one in self.layers if one < number), default=0))

    def mirrored(self, number: int) -> Layers:
        """The same with that layer, and a mirror's filter on it."""
        return Layers(
            index=self.index, layers=self.layers | {number}, filters=self.filters | {number}
        )


def layer(index: int, number: int) -> str:
    """Its node name."""
    return f"layer{index}.{number}"


def filter_(index: int, number: int) -> str:
    """The node name of the filter of a mirror that works on that layer."""
    return f"filter{index}.{number}"


async def found(monitor: Monitor, index: int) -> Layers:
    """The layers on a disk."""
    return among(await names(monitor), index)


def among(nodes: Iterable[str], index: int) -> Layers:
    """The layers on a disk, of the names of all nodes. Pure."""
    parts: dict[str, set[int]] = {"layer": set(), "filter": set()}
    for name in nodes:
        part = _PART.fullmatch(name)
        if part is not None and int(part[2]) == index:
            parts[part[1]].add(int(part[3]))
    return Layers(index=index, layers=frozenset(parts["layer"]), filters=frozenset(parts["filter"]))


async def free(monitor: Monitor, index: int, *, device: bool) -> int:
    """The number of the highest layer, which has no mirror yet; it is made where it is missing.

    ``device``: a guest's device has the disk; it is moved to the new layer.
    """
    there = await found(monitor, index)
    if there.free:
        return there.top
    number = there.top + 1
    await add(monitor, index, number, there.node(there.top))
    if device:
        try:
            await move_device(monitor, index, layer(index, number))
        except OperationFailed:
            await remove(monitor, index, number)
            raise
    return number


async def add(monitor: Monitor, index: int, number: int, below: str) -> None:
    """A new layer on a node."""
    command, node = adding(index, number, below)
    await monitor.execute(command, timeouts.URGENT, **node)


def adding(index: int, number: int, below: str) -> tuple[str, dict[str, object]]:
    """The command by which a layer comes to be on a node. Pure."""
    node = {"driver": "raw", "node-name": layer(index, number), "file": below}
    return "blockdev-add", {**node}


async def remove(monitor: Monitor, index: int, number: int) -> None:
    """It goes. OperationFailed where somebody uses it."""
    await monitor.execute_all([removing(index, number)], timeouts.URGENT)


def removing(index: int, number: int) -> tuple[str, dict[str, object]]:
    """The command by which a layer that nobody uses goes. Pure."""
    return "blockdev-del", {"node-name": layer(index, number)}


async def move_device(monitor: Monitor, index: int, node: str) -> None:
    """The guest's device has its disk by way of that node, once its writes under way are done."""
    command, given = moving(index, node)
    await monitor.execute(command, timeouts.URGENT, **given)


def moving(index: int, node: str) -> tuple[str, dict[str, object]]:
    """The command by which the guest's device comes to have its disk by way of that node. Pure.

    QEMU 7.2 crashes where that is the node that it has already.
    """
    path = f"/machine/peripheral/drive{index}"
    return "qom-set", {"path": path, "property": "drive", "value": node}


async def plugged(monitor: Monitor, index: int) -> bool:
    """Whether a guest's device has the disk."""
    found = await monitor.execute("qom-list", path="/machine/peripheral")
    return any(one["name"] == f"drive{index}" for one in found)


async def stops(monitor: Monitor, index: int) -> bool:
    """Whether the guest stands still where a write of its device fails, instead of seeing that."""
    path = f"/machine/peripheral/drive{index}"
    return bool(await monitor.execute("qom-get", path=path, property="werror") == "stop")


async def bare(monitor: Monitor, index: int) -> None:
    """Nothing is on the disk but the device, if any; nothing mirrors it any more."""
    if (await found(monitor, index)).layers and await plugged(monitor, index):
        await move_device(monitor, index, f"disk{index}")
    await tidy(monitor, index)


async def tidy(monitor: Monitor, index: int) -> None:
    """Layers that nothing is on, and no device either, go: what a change of layers has left."""
    there = await found(monitor, index)
    for number in sorted(there.layers - there.filters, reverse=True):
        with contextlib.suppress(OperationFailed):  # it is in use
            await remove(monitor, index, number)


async def of_device(monitor: Monitor, index: int) -> str:
    """The node by way of which the guest's device has the disk."""
    path = f"/machine/peripheral/drive{index}"
    return str(await monitor.execute("qom-get", path=path, property="drive"))


async def names(monitor: Monitor) -> set[str]:
    """All nodes."""
    [nodes] = await monitor.execute_all([NAMING])
    return named(nodes)


def named(nodes: Iterable[Mapping[str, object]]) -> set[str]:
    """Those of the answer to ``NAMING``. Pure."""
    return {str(one["node-name"]) for one in nodes}
