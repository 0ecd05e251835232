"""Waiting until a disk that is mirrored to another node is there as a whole."""

from __future__ import annotations

import asyncio

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.orders import Nothing
from gantry.model.replica_orders import MirrorWait


async def wait(parts: Parts, order: MirrorWait, task: Task) -> Nothing:
    """Look at what is known of it from time to time, with or without a guest; it takes minutes."""
    told = asyncio.get_running_loop().time()
    while True:
        known = [guest for guest in parts.guests() if guest.uuid == order.guest]
        found = [
            one
            for guest in known
            for one in guest.mirrors
            if (one.disk, one.node) == (order.disk, order.node)
        ]
        if not found or found[0].phase is MirrorPhase.LOST:
            raise _broken(found)
        if found[0].phase is MirrorPhase.READY:
            return Nothing()
        now = asyncio.get_running_loop().time()
        if now - told >= timeouts.TRANSFER_REPORT and found[0].total:
            told = now
            task.say(_words(found[0]))
        await asyncio.sleep(timeouts.MIRROR_LOOK)


def _words(live: MirrorLive) -> str:
    mib = 1024 * 1024
    percent = 100 * live.done // live.total
    return f"{live.done // mib} of {live.total // mib} MiB are copied ({percent}%)"


def _broken(found: list[MirrorLive]) -> OperationFailed:
    why = found[0].reason if found and found[0].reason else "nothing is mirrored there any more"
    return OperationFailed(
        f"the copy has not come to its end: {why}",
        "see the agent's log on that node; gnt-instance info shows what there is",
        reason=Reason.ENVIRONMENT,
    )
