"""Being the next master's node: what was heard of masters, copies of the state, waking it.

The copies are in ``var/lib/gantry/copies``, two of them are kept. What is in them is not known
here. The master process of this node waits at a datagram socket; any datagram makes it look.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.master_orders import (
    MasterReady,
    MasterSeen,
    ReadMaster,
    StateComplete,
    StateFile,
    StatePiece,
)
from gantry.model.orders import Nothing
from gantry.pki import files as certificates

SOCKET: Final = "run/gantry/standby.sock"
STATE: Final = "var/lib/gantry"
COPIES: Final = "var/lib/gantry/copies"
KEPT: Final = 2
PLACES: Final = {"state": "state.db", "history": "history.db"}
"""The files of a copy, and what they are called where they are in use."""
_COPY: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_TAKEN: Final = "taken-over"
"""Names the copy that was made the state last: it is not taken over a second time."""
_WORDS: Final = b"look"
_NEEDED: Final = (
    certificates.certificate(Path(), certificates.CA),
    certificates.key(Path(), certificates.CA),
    certificates.certificate(Path(), certificates.MASTER),
    certificates.key(Path(), certificates.MASTER),
    certificates.certificate(Path(), certificates.API),
    certificates.key(Path(), certificates.API),
)


def wake(root: Path) -> bool:
    """Make the master process that waits on this node look; False where none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as bell:
        bell.setblocking(False)
        try:
            bell.connect(str(root / SOCKET))
            bell.send(_WORDS)
        except BlockingIOError:
            # It has not read the last one yet, so it will look.
            return True
        except OSError:
            return False
    return True


def waits(root: Path) -> bool:
    """Whether a master process waits on this node."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as bell:
        try:
            bell.connect(str(root / SOCKET))
        except OSError:
            return False
    return True


async def seen(parts: Parts, question: ReadMaster) -> MasterSeen:
    """What is known of masters."""
    return msgspec.structs.replace(parts.seen(), waiting=waits(parts.root))


async def ready(parts: Parts, order: MasterReady, task: Task) -> Nothing:
    """Whether this node could be master at once."""
    await asyncio.to_thread(_check_ready, parts, order.size)
    return Nothing()


async def piece(parts: Parts, order: StatePiece, task: Task) -> Nothing:
    """Keep a piece of a copy that is coming."""
    path = _incoming(parts, order.copy, order.file)
    await asyncio.to_thread(_guarded, parts, lambda: _write(path, order.offset, order.data))
    return Nothing()


async def complete(parts: Parts, order: StateComplete, task: Task) -> Nothing:
    """Check a copy that has come, keep it, and make it the state where that is wanted."""
    for one in order.files:
        _incoming(parts, order.copy, one.file)
    if order.take_over and _taken_over(parts.root) == order.copy:
        # An answer that was lost: it is the state already, or was, or is about to be.
        await asyncio.to_thread(_guarded, parts, lambda: _take_over(parts.root, order))
        wake(parts.root)
        return Nothing()
    if order.take_over:
        _check_free(parts)
    await asyncio.to_thread(_guarded, parts, lambda: _complete(parts, order))
    if order.take_over:
        wake(parts.root)
    return Nothing()


def _check_free(parts: Parts) -> None:
    if not waits(parts.root):
        raise _nobody_waits(parts)
    if (parts.root / STATE / PLACES["state"]).exists():
        raise Rejected(
            f"node {parts.node} has a state of its own, {parts.root / STATE / PLACES['state']}",
            "its master process sets an old one aside when it starts: restart gantry-master there",
            reason=Reason.EXISTS,
            node=parts.node,
        )


def _taken_over(root: Path) -> str:
    try:
        return (root / COPIES / _TAKEN).read_text()
    except OSError:
        return ""


def _check_ready(parts: Parts, size: int) -> None:
    missing = [str(path) for path in _NEEDED if not (parts.root / path).exists()]
    if missing:
        raise Rejected(
            f"node {parts.node} lacks what a master needs: {', '.join(missing)}",
            "make it a master candidate first: gnt-node modify -C yes, and see its agent's log",
            reason=Reason.STATE,
            node=parts.node,
        )
    if not waits(parts.root):
        raise _nobody_waits(parts)
    free = shutil.disk_usage(parts.root / STATE).free // 2**20
    if free < size:
        raise Rejected(
            f"node {parts.node} has {free} MiB free in {parts.root / STATE}, and the state "
            f"needs {size} MiB",
            "make room there",
            reason=Reason.NO_RESOURCES,
            node=parts.node,
        )


def _nobody_waits(parts: Parts) -> Rejected:
    return Rejected(
        f"no master process waits on node {parts.node}",
        "start it there: systemctl enable --now gantry-master",
        reason=Reason.STATE,
        node=parts.node,
    )


def _guarded(parts: Parts, work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as error:
        raise OperationFailed(
            f"a copy of the master's state cannot be kept on node {parts.node}: "
            f"{error.strerror or error}",
            f"see to the disk of {parts.root / STATE}",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
        ) from error


def _incoming(parts: Parts, copy: str, file: str) -> Path:
    if not _COPY.fullmatch(copy) or file not in PLACES:
        raise Rejected(f"{copy!r} of {file!r} is no copy of a state", node=parts.node)
    return parts.root / COPIES / f"{file}-{copy}.part"


def _write(path: Path, offset: int, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if offset == 0:
        # What an earlier attempt left would otherwise stay for ever.
        for other in path.parent.glob("*.part"):
            if other.stat().st_mtime < time.time() - 3600:
                other.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags | (0 if offset else os.O_TRUNC), 0o600), "wb") as file:
        file.seek(offset)
        file.write(data)


def _complete(parts: Parts, order: StateComplete) -> None:
    # Only candidates get copies; what knows them is memory that every agent would have.
    from gantry.store import backup

    directory = parts.root / COPIES
    for one in order.files:
        _check(parts, directory / f"{one.file}-{order.copy}.part", one)
    for one in order.files:
        part = directory / f"{one.file}-{order.copy}.part"
        part.replace(_kept(parts.root, order, one))
    state = next((one for one in order.files if one.file == "state"), None)
    if state is None:
        _take_history(parts, order)
        return
    record = backup.Record(
        taken=datetime.datetime.fromtimestamp(order.taken, datetime.UTC),
        size_bytes=state.size,
        sha256=state.sha256,
        revision=order.revision,
    )
    note = directory / f"state-{order.copy}.json"
    note.write_bytes(msgspec.json.encode(record))
    _sync(directory)
    if order.take_over:
        note.unlink()
        (directory / _TAKEN).write_text(order.copy)
        _sync(directory)
        _take_over(parts.root, order)
    for old in backup.list_backups(directory)[KEPT:]:
        backup.remove(old)
        name = old.file.name.replace("state-", "history-", 1)
        old.file.with_name(name).unlink(missing_ok=True)


def _take_history(parts: Parts, order: StateComplete) -> None:
    """Where the state is elsewhere there is only the history, and no use in older ones."""
    place = parts.root / STATE / PLACES["history"]
    for one in order.files:
        if waits(parts.root):
            for suffix in ("-wal", "-shm"):
                place.with_name(place.name + suffix).unlink(missing_ok=True)
            _kept(parts.root, order, one).replace(place)
        else:
            # A master that is about to begin here has its own open.
            _kept(parts.root, order, one).unlink()


def _check(parts: Parts, path: Path, wanted: StateFile) -> None:
    found = -1
    with contextlib.suppress(FileNotFoundError):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found = file.tell()
            os.fsync(file.fileno())
        if found == wanted.size and digest == wanted.sha256:
            return
    path.unlink(missing_ok=True)
    raise OperationFailed(
        f"the copy of the master's state that came to node {parts.node} is not what was sent: "
        f"file {wanted.file}, {max(found, 0)} of {wanted.size} bytes",
        "it is sent again",
        node=parts.node,
    )


def _kept(root: Path, order: StateComplete, file: StateFile) -> Path:
    return root / COPIES / f"{file.file}-{order.copy}.sqlite"


def _take_over(root: Path, order: StateComplete) -> None:
    found = {one.file: _kept(root, order, one) for one in order.files}
    take_over(root, {file: path for file, path in found.items() if path.exists()})


def take_over(root: Path, files: dict[str, Path]) -> None:
    """Put the files of a copy where the state is in use; what is there is set aside.

    The state comes last: without it nothing of the copy counts.
    """
    directory = root / STATE
    for file in sorted(files, key=lambda name: name == "state"):
        place = directory / PLACES[file]
        set_aside(place, "replaced")
        files[file].replace(place)
    _sync(directory)


def set_aside(place: Path, why: str) -> Path | None:
    """Keep a database under another name, with its write-ahead log; where it is now."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = place.with_name(f"{place.name}.{why}-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            place.with_name(place.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept if kept.exists() else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
