"""Orders and questions about guests."""

from __future__ import annotations

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.errors import Rejected
from gantry.model.live import GuestLive
from gantry.model.names import Uuid, is_uuid
from gantry.model.orders import (
    ConsoleAddress,
    GuestForget,
    GuestList,
    GuestReset,
    GuestStart,
    GuestStop,
    Nothing,
    ReadConsole,
    ReadGuests,
)
from gantry.ports.agents import GuestChanged


async def start(parts: Parts, order: GuestStart, task: Task) -> GuestLive:
    """Start a guest, unless its disks are in use otherwise."""
    disk_use.no_script(parts, order.spec.uuid, order.spec.name)
    await disk_use.unattached(parts, order.spec.disks, order.spec.name)
    await parts.active.deactivate(order.spec.uuid)
    live = await parts.hypervisor(order.spec.hypervisor).start(order.spec, paused=order.paused)
    parts.facts.disturbed()
    return live


async def stop(parts: Parts, order: GuestStop, task: Task) -> Nothing:
    """Shut a guest down."""
    driver, uuid = parts.hypervisor(order.hypervisor), _valid(order.uuid)
    await driver.stop(uuid, timeout=order.timeout, force=order.force, progress=task.say)
    parts.facts.disturbed()
    if order.forget:
        await forgotten(parts, order.hypervisor, uuid)
    return Nothing()


async def reset(parts: Parts, order: GuestReset, task: Task) -> Nothing:
    """Reset a running guest."""
    await parts.hypervisor(order.hypervisor).reset(_valid(order.uuid))
    return Nothing()


async def forget(parts: Parts, order: GuestForget, task: Task) -> Nothing:
    """Drop what is kept of a guest, and tell it."""
    await forgotten(parts, order.hypervisor, _valid(order.uuid))
    return Nothing()


async def read(parts: Parts, question: ReadGuests) -> GuestList:
    """Every guest, asked of the hypervisors now."""
    for driver in parts.hypervisors.values():
        await driver.read_guests()
    return GuestList(guests=parts.guests())


async def console(parts: Parts, question: ReadConsole) -> ConsoleAddress:
    """Where a console is."""
    return await parts.hypervisor(question.hypervisor).console_address(_valid(question.uuid))


def _valid(uuid: Uuid) -> Uuid:
    """It becomes part of paths; Rejected where it is none."""
    if not is_uuid(uuid):
        raise Rejected(f"{uuid!r} is not a uuid")
    return uuid


async def forgotten(parts: Parts, hypervisor: str, uuid: Uuid) -> None:
    """Drop what is kept of a guest that is not up, and tell it."""
    driver = parts.hypervisor(hypervisor)
    known = [guest for guest in driver.guests() if guest.uuid == uuid]
    await driver.forget(uuid)
    for guest in known:
        parts.listeners.tell(GuestChanged(guest=guest, forgotten=True))
