"""A replica that answers, though nothing of what QEMU sends to it gets there.

Where the other end of a connection goes while the link is away, its last word may be lost. QEMU,
which waits for an answer, never hears then that nobody is there any more: not for the two hours
after which the kernel asks. It waits with the guest's write alone, or with all of its main loop
where it was told to stop the guest. So its connections are ended from outside: it makes them
anew at once, and sends again what was under way. No write is acknowledged for that.
"""

from __future__ import annotations

import asyncio
import logging

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm.one_mirror import OneMirror
from gantry.model import timeouts
from gantry.model.errors import GantryError

_log = logging.getLogger(__name__)


async def dead(peers: Peers, one: OneMirror, name: str, look: asyncio.Task[None]) -> str:
    """Wait for a ``look`` at how far it is, and have QEMU connect anew where nothing gets there.

    It has just answered; ``name``: of the guest. Why it is lost, where that cannot be had.
    """
    counts = not one.copying
    answered, _ = await asyncio.wait([look], timeout=one.patience)
    if counts and (one.stands or not answered):
        one.dead = not await _hung_up(peers, one, name)
    await asyncio.wait([look])
    return "QEMU's connection to it is dead, and cannot be ended" if one.dead else ""


async def _hung_up(peers: Peers, one: OneMirror, name: str) -> bool:
    one.patience = min(2 * one.patience, timeouts.REPLICA_STANDS)
    which = f"disk {one.disk.index} of {name} on {one.target.name}"
    _log.warning("%s answers, but nothing gets there: QEMU is to connect anew", which)
    try:
        return await peers.hang_up(one.target)
    except GantryError as error:
        _log.error("connections of %s cannot be ended: %s", which, error)
        return False
