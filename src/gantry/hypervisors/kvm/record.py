"""What is durably known of a guest, and what it means when its process is gone.

One file a guest, replaced atomically. Beside it lies ``lock``, an empty file: the process of
the guest holds an flock on it from before its first instruction to its very end, because it
inherits the open file. So whether a guest's process exists is asked of the kernel, and never
guessed from pids. No process is started or ended here.
"""

from __future__ import annotations

import enum
import os
import tempfile
from pathlib import Path

import msgspec

from gantry.host import life_lock
from gantry.model.live import GuestLive, GuestState
from gantry.model.moving_orders import Ports
from gantry.model.orders import GuestSpec


class Phase(enum.StrEnum):
    """Where a guest is between start and end; written *before* it is so."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    """We were ordered to end it."""
    OFF = "off"
    """The guest powered itself off; its process is being ended."""
    ENDED = "ended"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """``pid`` and ``started`` name the process; ``boot_id`` the machine's boot it belongs to.

    ``last`` is how it ended, in phase ENDED. ``since`` is when it was started. ``incoming``: it
    waits for the guest from another node, at these ports; it has never run here. ``held``: it
    stands still because we want it to, until its mirrors are there; see ``held``.
    """

    spec: GuestSpec
    phase: Phase
    boot_id: str
    since: float
    pid: int = 0
    started: int = 0
    last: GuestLive | None = None
    incoming: Ports | None = None
    held: bool = False


def outcome(record: Record, boot_id: str, errors: str) -> tuple[GuestState, str]:
    """What became of a guest whose process is gone, and why.

    ``errors`` are the last lines of its standard error.
    """
    if record.last is not None and record.phase is Phase.ENDED:
        return record.last.state, record.last.reason
    if record.phase is Phase.STOPPING:
        return GuestState.STOPPED, ""
    if record.phase is Phase.OFF:
        return GuestState.SHUT_DOWN, "the guest powered itself off"
    if record.boot_id != boot_id:
        return GuestState.DIED, "the node was restarted"
    what = "QEMU ended while it was being started" if _young(record) else "QEMU ended unexpectedly"
    return GuestState.DIED, f"{what}: {errors}" if errors else what


def _young(record: Record) -> bool:
    return record.phase is Phase.STARTING


class Files:
    """The files of one guest: ``durable`` survives a reboot, ``volatile`` has its sockets."""

    def __init__(self, durable: Path, volatile: Path) -> None:
        self.durable = durable
        self.volatile = volatile
        self.errors = durable / "stderr"

    def make(self) -> None:
        """The directories, for our eyes only."""
        for directory in (self.durable, self.volatile):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)

    def read(self) -> Record | None:
        """The record; None where there is none. msgspec.DecodeError where it is damaged."""
        try:
            return msgspec.json.decode((self.durable / "record.json").read_bytes(), type=Record)
        except FileNotFoundError:
            return None

    def write(self, record: Record, *, durably: bool) -> None:
        """Replace the record; ``durably``: on disk before this returns."""
        handle, temporary = tempfile.mkstemp(dir=self.durable, prefix="record.")
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(record))
            if durably:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(self.durable / "record.json")

    def lock(self) -> int | None:
        """The lock, as a file descriptor that a process may inherit; None where one has it."""
        return life_lock.take(self.durable / "lock")

    def held(self) -> bool:
        """Whether a process of the guest exists: proof, in both directions."""
        return life_lock.held(self.durable / "lock")

    def last_errors(self) -> str:
        """The last lines of QEMU's standard error, joined, without its own name."""
        try:
            text = self.errors.read_bytes()[-4096:].decode(errors="replace")
        except FileNotFoundError:
            return ""
        lines = [line.partition(": ")[2] or line for line in text.splitlines() if line.strip()]
        return "; ".join(line.strip() for line in lines[-3:])

    def remove(self) -> None:
        """All of them, and their directories."""
        for directory in (self.volatile, self.durable):
            if directory.is_dir():
                for entry in directory.iterdir():
                    entry.unlink()
                directory.rmdir()
