"""Asking a replica's export whether it is there: QEMU itself would wait for it for ever."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm.one_mirror import OneMirror
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason, Unavailable

_LEAST_TRY: Final = 3.0
"""Seconds for which an export was asked at least before it is lost."""
TRY_AGAIN: Final = 0.5


async def content(peers: Peers, one: OneMirror, name: str, *, soon: bool = False) -> str:
    """The word for what is on the replica; Unavailable where it is not served.

    ``name``: of the guest. ``soon``: it is just about to be served, which is waited for.
    """
    try:
        async with asyncio.timeout(timeouts.REPLICA_LOST):
            found = await peers.exports(one.target, until=one.disk.uuid if soon else "")
    except (OSError, EOFError, TimeoutError) as error:
        raise Unavailable(
            f"disk {one.disk.index} of {name} cannot be mirrored to {one.target.name}: "
            f"it does not answer at {one.target.host} port {one.target.port} ({error})",
            "see whether the node and its secondary network are well",
            reason=Reason.ENVIRONMENT,
            object_name=name,
        ) from error
    if one.disk.uuid not in found:
        raise OperationFailed(
            f"{one.target.name} does not serve disk {one.disk.index} of {name} at "
            f"{one.target.host} port {one.target.port}",
            object_name=name,
        )
    words = [export.partition(".")[2] for export in found if export.startswith(one.disk.uuid + ".")]
    return words[0] if words else ""


async def lost(peers: Peers, one: OneMirror) -> str:
    """Ask it; why it counts as lost, or nothing where it answers or may still do so."""
    began = time.monotonic()
    first = began if one.asked is None else one.asked
    patience = max(one.answered + timeouts.REPLICA_LOST, first + _LEAST_TRY) - began
    try:
        async with asyncio.timeout(max(TRY_AGAIN, patience)):
            await peers.exports(one.target)
    except (OSError, EOFError, TimeoutError) as error:
        one.asked = first
        one.goes_on()  # as soon as it answers
        now = time.monotonic()
        if now - one.answered < timeouts.REPLICA_LOST or now - first < _LEAST_TRY:
            return ""
        return (
            f"{one.target.host} port {one.target.port} does not answer: {error or 'nothing comes'}"
        )
    one.answered, one.asked = time.monotonic(), None
    return ""
