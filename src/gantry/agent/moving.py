"""Orders by which a running guest comes to another node, or leaves this one.

Bytes go from hypervisor to hypervisor, in TLS with the nodes' own certificates; each end accepts
the one node that it was told.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gantry.agent import disk_use, ends, guests
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.hypervisors.contract import Link, Manner
from gantry.model.entities import DiskTemplate
from gantry.model.errors import GantryError, Rejected
from gantry.model.identity import node_host, node_subject
from gantry.model.live import GuestLive
from gantry.model.moving_orders import (
    Described,
    GuestDescribe,
    GuestDrop,
    GuestReceive,
    GuestResume,
    GuestSend,
    GuestTakeBack,
    Ports,
    Sent,
)
from gantry.model.names import Uuid, is_uuid
from gantry.model.orders import Nothing

_DIRECTORY: Final = "run/gantry"


async def describe(parts: Parts, order: GuestDescribe, task: Task) -> Described:
    """What the running guest is."""
    return await parts.hypervisor(order.hypervisor).describe(_valid(order.uuid))


async def receive(parts: Parts, order: GuestReceive, task: Task) -> Ports:
    """Wait for a guest, unless its disks are in use otherwise."""
    spec = order.spec
    disk_use.no_script(parts, _valid(spec.uuid), spec.name)
    await disk_use.unattached(parts, spec.disks, spec.name)
    driver = parts.hypervisor(spec.hypervisor)
    async with _certificates(parts) as directory:
        subject = node_subject(order.peer.name, order.peer.node)
        link = Link(directory=directory, host=order.host, peer=subject, node=order.peer.node)
        ports = await driver.receive(spec, order.accelerator, link, order.disks)
    for disk in spec.disks:
        if disk.template is DiskTemplate.MIRROR:
            await parts.replicas.about_to_leave(disk)
    parts.facts.disturbed()
    return ports


async def send(parts: Parts, order: GuestSend, task: Task) -> Sent:
    """Send a guest; where that fails it goes on here."""
    driver = parts.hypervisor(order.hypervisor)
    manner = Manner(
        live=order.live,
        downtime=order.downtime,
        bandwidth=order.bandwidth,
        lasts=order.lasts,
        node=order.peer.node if order.mirrored else None,
    )
    async with _certificates(parts) as directory:
        name = node_host(parts.configuration.cluster, order.peer.node)
        link = Link(directory=directory, host=order.peer.host, peer=name)
        try:
            whole = await driver.send(
                _valid(order.uuid), link, order.ports, order.disks, manner, task.say
            )
        except GantryError as error:
            error.node = error.node or parts.node
            raise
    return Sent(whole=whole)


async def resume(parts: Parts, order: GuestResume, task: Task) -> GuestLive:
    """Run the guest that was received; its replicas here are served to nobody any more."""
    mirrored = [one for one in order.disks if one.template is DiskTemplate.MIRROR]
    freed = asyncio.gather(*(parts.replicas.leave(disk) for disk in mirrored))
    try:
        driver = parts.hypervisor(order.hypervisor)
        live = await driver.resume(_valid(order.uuid), order.disks, freed)
    finally:
        await asyncio.gather(*await freed)
    parts.facts.disturbed()
    return live


async def take_back(parts: Parts, order: GuestTakeBack, task: Task) -> Nothing:
    """Go on with the guest that was to be sent."""
    await parts.hypervisor(order.hypervisor).take_back(_valid(order.uuid))
    return Nothing()


async def drop(parts: Parts, order: GuestDrop, task: Task) -> Nothing:
    """End the guest that was sent."""
    driver, uuid = parts.hypervisor(order.hypervisor), _valid(order.uuid)
    await driver.drop(uuid)
    parts.facts.disturbed()
    if order.forget and not any(one.uuid == uuid and one.up for one in driver.guests()):
        await guests.forgotten(parts, order.hypervisor, uuid)
    return Nothing()


@asynccontextmanager
async def _certificates(parts: Parts) -> AsyncIterator[str]:
    """A directory with the node's certificates as QEMU names them, as long as they are read."""

    def make() -> Path:
        where = parts.root / _DIRECTORY
        where.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="moving-", dir=where))
        ends.tls(parts.root, directory)
        return directory

    directory = await asyncio.to_thread(make)
    try:
        yield str(directory)
    finally:
        ends.clear(directory)  # a guest that stands still waits for it: no thread is begun for that


def _valid(uuid: Uuid) -> Uuid:
    """It becomes part of paths; Rejected where it is none."""
    if not is_uuid(uuid):
        raise Rejected(f"{uuid!r} is not a uuid")
    return uuid
