"""What the fake hypervisor keeps of a guest, and how one misbehaves when told to."""

from __future__ import annotations

import asyncio
import enum
import time
from pathlib import Path

import msgspec

from gantry.model.errors import OperationFailed
from gantry.model.live import GuestLive, GuestState
from gantry.model.orders import DiskSpec, GuestSpec


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Before a method: wait ``delay`` seconds, then fail with ``error`` unless it is empty."""

    error: str = ""
    delay: float = 0.0


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one guest misbehaves. ``die_after`` is seconds after its start."""

    start: Failure | None = None
    stop: Failure | None = None
    reset: Failure | None = None
    forget: Failure | None = None
    console: Failure | None = None
    send: Failure | None = None
    resume: Failure | None = None
    die_after: float | None = None
    ignores_shutdown: bool = False


class Moving(enum.StrEnum):
    """Which end of a move a guest is at."""

    NO = "no"
    AWAITED = "awaited"
    RECEIVED = "received"
    SENT = "sent"


class Kept(msgspec.Struct, frozen=True):
    """A guest's file. ``dies_at`` is seconds since 1970; ``spec`` what it was started with."""

    live: GuestLive
    boot_id: str
    dies_at: float | None = None
    disks: tuple[DiskSpec, ...] = ()
    marks: dict[str, tuple[int, ...]] = {}
    spec: GuestSpec | None = None
    moving: Moving = Moving.NO


def keep(root: Path, kept: Kept) -> None:
    """Write a guest's file; with no driver open, it is what happened while nobody looked."""
    directory = root / "var/lib/gantry/fake-guests"
    temporary = directory / f".{kept.live.uuid}"
    content = msgspec.json.encode(kept)
    try:
        temporary.write_bytes(content)
    except FileNotFoundError:
        directory.mkdir(parents=True)
        temporary.write_bytes(content)
    temporary.replace(directory / f"{kept.live.uuid}.json")


def ended(kept: Kept, state: GuestState, reason: str) -> Kept:
    """The guest as it is once it has come to an end."""
    live = msgspec.structs.replace(
        kept.live, state=state, reason=reason, since=time.time(), memory=0, mirrors=()
    )
    return msgspec.structs.replace(kept, live=live, dies_at=None)


async def misbehave(failure: Failure | None, what: str) -> None:
    """Do what ``failure`` says."""
    if failure is None:
        return
    await asyncio.sleep(failure.delay)
    if failure.error:
        raise OperationFailed(f"{what}: {failure.error}")
