"""Guests that stand still because a copy beside them cannot be made.

A backup job (of an export, or of what a replica lacks) copies a block before the guest writes
over it. Where it cannot, QEMU fails the guest's write, which is none of its business: the guest
is stopped instead (for a mirrored disk always, for others where space is what lacks). Then the
copies are given up, which tells whoever wanted them, and the guest goes on with that write.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

from gantry.hypervisors.kvm import block_jobs
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.record import Record
from gantry.model import timeouts
from gantry.model.errors import GantryError

_log = logging.getLogger(__name__)
_KIND: Final = "backup"


class Stopped(Protocol):
    """A guest that an error of a disk has stopped."""

    record: Record

    async def monitor(self, timeout: float) -> Monitor:
        """The connection to its monitor."""

    async def resume(self, timeout: float) -> None:
        """Let its processors run."""


async def relieve(guest: Stopped) -> None:
    """Let it go on, where a copy beside it is what could not be written."""
    monitor = await guest.monitor(timeouts.QMP)
    if await _given_up(monitor, guest.record.spec.name):
        await guest.resume(timeouts.QMP)


async def _given_up(monitor: Monitor, name: str) -> bool:
    """Cancel all copies that are made before the guest's writes; whether there was one."""
    copies = [job for job in await monitor.execute("query-jobs") if job["type"] == _KIND]
    found = [str(job["id"]) for job in copies if job["status"] != "concluded"]
    for job in found:
        _log.warning("%s stands still: the copy %s cannot be made and is given up", name, job)
        try:
            await block_jobs.end(monitor, job)
        except GantryError as error:
            _log.error("the copy %s of %s cannot be given up: %s", job, name, error)
    # One that has ended by itself stays until who wanted it has seen why.
    return bool(found) or any(job.get("error") for job in copies)
