"""The node's facts, and telling the master when they changed enough to matter."""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.configuration import DATABASE, Resources
from gantry.agent.memory import damage
from gantry.host import machine
from gantry.hypervisors.contract import Hypervisor
from gantry.model.live import HypervisorFacts, NodeFacts
from gantry.osdefs.search import Finder

INTERVAL: Final = 5.0
"""Seconds between two looks at what nobody tells us: free space, OS definitions."""
_SOON: Final = 1.0
"""Seconds from an order that uses memory or disk to the next look."""
_ENOUGH: Final = 0.02
"""A change of memory or disk by this part of the whole is told."""


class Facts:
    """Reads the facts; remembers what was told last."""

    def __init__(
        self,
        root: Path,
        hypervisors: Mapping[str, Hypervisor],
        finder: Finder,
        storage_directory: str,
        certificate_expires: float,
        pretended: Resources | None = None,
        bundles: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """``pretended`` is told instead of what the machine has."""
        self._root = root
        self._hypervisors = hypervisors
        self._finder = finder
        self._storage = root / storage_directory.lstrip("/")
        self._expires = certificate_expires
        self._pretended = pretended
        self._bundles = bundles
        self._told: NodeFacts | None = None
        self._wake = asyncio.Event()

    async def read(self) -> NodeFacts:
        """All facts, taken now."""
        hypervisors = {name: await one.facts() for name, one in self._hypervisors.items()}
        return await asyncio.to_thread(self._read, hypervisors)

    async def told(self) -> NodeFacts:
        """As they were told last; read where they never were."""
        if self._told is None:
            self._told = await self.read()
        return self._told

    def disturbed(self) -> None:
        """Something was done that changes them: look again soon."""
        self._wake.set()

    async def follow(self, changed: Callable[[NodeFacts], None]) -> None:
        """Read them now and then, for ever; ``changed`` gets those that matter."""
        while True:
            fresh = await self.read()
            if self._told is None or matters(self._told, fresh):
                self._told = fresh
                changed(fresh)
            self._wake.clear()
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._wake.wait()
            except TimeoutError:
                continue
            # Several orders in a row are one look.
            await asyncio.sleep(_SOON)

    def _read(self, hypervisors: dict[str, HypervisorFacts]) -> NodeFacts:
        used = sum(guest.memory for one in self._hypervisors.values() for guest in one.guests())
        memory, processors, space = self._resources(used)
        return NodeFacts(
            boot_id=machine.boot_id(),
            memory_total=memory.total,
            memory_free=memory.free,
            memory_node=max(0, memory.total - memory.free - used),
            disk_total=space.total,
            disk_free=space.free,
            cpus=processors.count,
            cpu_sockets=processors.sockets,
            hypervisors=hypervisors,
            oses=self._finder.find(),
            bridges=bridges(),
            version=version(),
            clock=time.time(),
            certificate_expires=self._expires,
            bundles=self._bundles(),
            root=str(self._root),
            problems=damage(self._root / DATABASE),
        )

    def _resources(self, used: int) -> tuple[machine.Memory, machine.Processors, machine.Space]:
        given = self._pretended
        if given is None:
            return machine.memory(), machine.processors(), machine.space(self._storage)
        return (
            machine.Memory(given.memory, max(0, given.memory - used)),
            machine.Processors(given.cpus, given.sockets),
            machine.Space(given.disk, given.disk),
        )


def matters(old: NodeFacts, new: NodeFacts) -> bool:
    """Whether a master should be told: anything but the clock and small changes of what is free."""
    moved = (
        abs(old.memory_free - new.memory_free) > _ENOUGH * max(1, new.memory_total)
        or abs(old.memory_node - new.memory_node) > _ENOUGH * max(1, new.memory_total)
        or abs(old.disk_free - new.disk_free) > _ENOUGH * max(1, new.disk_total)
    )
    same = msgspec.structs.replace(
        new,
        clock=old.clock,
        memory_free=old.memory_free,
        memory_node=old.memory_node,
        disk_free=old.disk_free,
    )
    return moved or same != old


def bridges() -> tuple[str, ...]:
    """The names of the machine's bridges (sysfs: a bridge has a directory ``bridge``)."""
    return tuple(sorted(path.parent.name for path in Path("/sys/class/net").glob("*/bridge")))


@functools.cache
def version() -> str:
    """This program's version: from the name of its metadata's directory.

    ``importlib.metadata`` would read it out of there, and cost an agent 1.5 MB.
    """
    for entry in sys.path:
        for found in Path(entry or ".").glob("gantry_cluster-*.dist-info"):
            return found.name.removeprefix("gantry_cluster-").removesuffix(".dist-info")
    return ""
