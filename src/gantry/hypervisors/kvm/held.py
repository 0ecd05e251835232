"""A guest that is held still while its mirrors end and begin again, or until they are released.

QEMU gives no disk another size while it is mirrored. What a guest wrote in between would be on
the primary alone, so it does not run then. That it is held is in its record: where an agent dies
meanwhile, the mirrors that are gone are lost to the next one, and the guest goes on when they
were released, as after any loss.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.record import Phase, Record
from gantry.model import timeouts
from gantry.model.errors import GantryError

if TYPE_CHECKING:
    from gantry.hypervisors.kvm.renewing import GuestMirrors

_log = logging.getLogger(__name__)


class Holdable(Protocol):
    """A guest that is up. ``holding``: as long as somebody holds it, or lets it go on."""

    record: Record
    mirrors: GuestMirrors | None
    holding: asyncio.Lock

    async def monitor(self, timeout: float) -> Monitor:
        """The connection to its monitor."""

    async def resume(self, timeout: float) -> None:
        """Let its processors run."""

    async def enter(self, phase: Phase) -> None:
        """Have its record on disk."""


async def without_mirrors(
    guest: Holdable, mirrors: GuestMirrors, index: int, work: Callable[[], Awaitable[None]]
) -> None:
    """Do that while nothing is mirrored of a disk, and nobody writes.

    OperationFailed, and nothing is done, where a replica is not in order. A replica that cannot
    be mirrored to again is lost, and the guest goes on when it was released.
    """
    # What is begun comes to its end, whoever waits for it.
    await asyncio.shield(asyncio.create_task(_done(guest, mirrors, index, work)))


async def _done(
    guest: Holdable, mirrors: GuestMirrors, index: int, work: Callable[[], Awaitable[None]]
) -> None:
    async with guest.holding:
        await mirrors.in_order()
        monitor = await guest.monitor(timeouts.QMP)
        if (await monitor.execute("query-status"))["status"] == "running":
            await _note(guest, held=True)
        try:
            if guest.record.held:
                await monitor.execute("stop", timeouts.URGENT)
            await mirrors.anew(index, work)
        finally:
            await _go_on(guest)


@asynccontextmanager
async def still(guest: Holdable) -> AsyncIterator[None]:
    """It stands still meanwhile, and goes on then where nothing that must be mirrored is missing.

    Whatever becomes of its mirrors, nobody else lets it go on before.
    """
    async with guest.holding:
        await _note(guest, held=True)
        yield
        await _goes_on(guest)


@asynccontextmanager
async def arriving(guest: Holdable, record: Record) -> AsyncIterator[None]:
    """The same of one that has never run here, and has that record before it does."""
    async with guest.holding:
        guest.record = record
        noted = asyncio.create_task(_note(guest, held=True))
        try:
            yield
        finally:
            await noted
        await _goes_on(guest, arrived=True)


async def go_on(guest: Holdable) -> None:
    """Let it run, where it is held and nothing that must be mirrored is missing."""
    async with guest.holding:
        await _goes_on(guest)


async def _goes_on(guest: Holdable, *, arrived: bool = False) -> None:
    try:
        await _go_on(guest, arrived=arrived)
    except GantryError as error:
        _log.warning("%s is still held: %s", guest.record.spec.name, error)


async def _go_on(guest: Holdable, *, arrived: bool = False) -> None:
    """``arrived``: it has just come, and nobody else knows yet that it may run."""
    if not guest.record.held or (guest.mirrors is not None and guest.mirrors.awaited):
        return
    if arrived or await _stands(guest):
        await guest.resume(timeouts.QMP)
    await _note(guest, held=False)


async def _stands(guest: Holdable) -> bool:
    monitor = await guest.monitor(timeouts.QMP)
    status = (await monitor.execute("query-status"))["status"]
    return status in ("paused", "postmigrate", "io-error")


async def _note(guest: Holdable, *, held: bool) -> None:
    guest.record = msgspec.structs.replace(guest.record, held=held)
    await guest.enter(guest.record.phase)
