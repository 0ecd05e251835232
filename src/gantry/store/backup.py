"""Copies of the SQLite state file: taking them while a master runs, checking, bringing back.

Blocking functions: a coroutine calls them in a thread. The time comes from the caller. A copy
is two files, ``state-<time>.sqlite`` and its record ``state-<time>.json``; the record is
written last, so that a file without one is no copy. Nothing here knows what the keys mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import apsw
import msgspec

from gantry.model.errors import Reason, Rejected
from gantry.store.sqlite.lock import FileLock
from gantry.store.sqlite.schema import translated

DAILY_COPIES = 7


class BackupDamaged(Rejected):
    """A copy that is not what its record says; nothing was changed."""

    code = "backup-damaged"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written beside a copy; ``revision`` is the store's at that moment."""

    taken: datetime
    size_bytes: int
    sha256: str
    revision: int


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A copy and its record."""

    file: Path
    record: Record


def backup(state: Path, directory: Path, taken: datetime) -> Backup:
    """Copy the state file, in use or not, into ``directory`` (made if it is missing).

    Raises StoreDamaged, StoreUnavailable (no such file, a full disk), and Rejected when that
    second's copy is there already.
    """
    file = directory / f"state-{taken.astimezone(UTC):%Y%m%dT%H%M%SZ}.sqlite"
    with translated(state):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.exists():
            raise Rejected(f"the copy {file} is there already", reason=Reason.EXISTS)
        with _partial(directory) as partial:
            revision = _copy_state(state, partial)
            _sync(partial)
            record = Record(
                taken=taken,
                size_bytes=partial.stat().st_size,
                sha256=_digest(partial),
                revision=revision,
            )
            partial.rename(file)
        with _partial(directory) as partial:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
            _sync(partial)
            partial.rename(_record_file(file))
        _sync(directory)
    return Backup(file=file, record=record)


def list_backups(directory: Path) -> tuple[Backup, ...]:
    """All complete copies of a directory, the newest first; none if there is no directory."""
    found = []
    for file in directory.glob("state-*.sqlite"):
        with contextlib.suppress(BackupDamaged):
            found.append(Backup(file=file, record=_read_record(file)))
    return tuple(sorted(found, key=_moment, reverse=True))


def verify(file: Path) -> Backup:
    """Read a copy and its record through; raises BackupDamaged when they do not agree."""
    record = _read_record(file)
    try:
        intact = file.stat().st_size == record.size_bytes and _digest(file) == record.sha256
    except OSError as error:
        raise BackupDamaged(f"the copy {file} cannot be read: {error.strerror}") from error
    if not intact:
        raise BackupDamaged(
            f"the copy {file} is not what its record says (size or SHA-256 differs)",
            "take another one: `gantry state list`",
        )
    return Backup(file=file, record=record)


def restore(state: Path, file: Path, now: datetime) -> Path | None:
    """Put a verified copy in the state file's place; answers where the old file now is.

    The old file, if there is one, and its write-ahead log stay as ``<state>.damaged-<time>``.
    Raises StoreLocked while a master runs, BackupDamaged, StoreUnavailable (a full disk);
    then the old file is where it was.
    """
    with translated(state):
        lock = FileLock(state, exclusive=True)
        try:
            checked = verify(file)
            with _partial(state.parent) as partial:
                _copy_bytes(checked.file, partial)
                if _digest(partial) != checked.record.sha256:
                    raise BackupDamaged(f"the copy {file} changed while it was read")
                kept = _set_aside(state, now)
                partial.replace(state)
            _sync(state.parent)
        finally:
            lock.release()
    return kept


def surplus(copies: Sequence[Backup], days: int = DAILY_COPIES) -> tuple[Backup, ...]:
    """Which copies to remove: all but each day's last, of the last ``days`` days (UTC) with any."""
    last_of_day: dict[str, Backup] = {}
    for copy in sorted(copies, key=_moment):
        last_of_day[_day(copy)] = copy
    kept = {last_of_day[day].file for day in sorted(last_of_day, reverse=True)[:days]}
    return tuple(copy for copy in copies if copy.file not in kept)


def is_due(copies: Sequence[Backup], now: datetime) -> bool:
    """Whether today's copy (UTC) is still to be taken."""
    today = now.astimezone(UTC).date().isoformat()
    return all(_day(copy) != today for copy in copies)


def remove(copy: Backup) -> None:
    """Remove a copy; the record first, so that no half of one is ever listed."""
    with translated(copy.file):
        _record_file(copy.file).unlink(missing_ok=True)
        copy.file.unlink(missing_ok=True)


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of any database of ours, of one moment; writers go on meanwhile.

    Raises StoreDamaged and StoreUnavailable.
    """
    with translated(source):
        connection = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()


def revision_of(state: Path) -> int:
    """The revision of a state file that nobody writes to."""
    with translated(state):
        connection = apsw.Connection(str(state), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return int(connection.execute("SELECT revision FROM state").get)
        finally:
            connection.close()


def _copy_state(state: Path, target: Path) -> int:
    copy_database(state, target)
    return revision_of(target)


def _set_aside(state: Path, now: datetime) -> Path | None:
    """Keep the old file under another name; it also stays in place, to be replaced at once."""
    kept = state.with_name(f"{state.name}.damaged-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}")
    # A log left behind would be played into the file that comes.
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            state.with_name(state.name + suffix).rename(kept.with_name(kept.name + suffix))
    try:
        os.link(state, kept)
    except FileNotFoundError:
        return None
    return kept


def _read_record(file: Path) -> Record:
    path = _record_file(file)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupDamaged(
            f"the copy {file} has no readable record {path.name}: {error}",
            "a copy is two files, keep them together",
        ) from error


def _record_file(file: Path) -> Path:
    return file.with_suffix(".json")


def _moment(copy: Backup) -> datetime:
    return copy.record.taken


def _day(copy: Backup) -> str:
    return copy.record.taken.astimezone(UTC).date().isoformat()


@contextlib.contextmanager
def _partial(directory: Path) -> Iterator[Path]:
    """A new file, readable by its owner only, gone at the end unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=directory, suffix=".partial")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(1 << 20):
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())


def _digest(file: Path) -> str:
    with file.open("rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
