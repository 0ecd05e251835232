"""The Store in one SQLite file: opening, and the port's methods in terms of their parts.

WAL, synchronous FULL, one writing connection. The master opens it exclusively: a lock file
keeps a second one out, watches are woken by this process's own commits, and the leases found
in the file run again for their whole time. ``exclusive=False`` lets several processes of
one machine share a file (SQLite's own locks keep their writes apart, from 3.51.3 on, which
mends the WAL-reset bug): watches then look every 5 ms whether another process has committed,
and a lease ends only while the process that granted it, or a later exclusive one, runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path

from gantry.ports.store import (
    Compare,
    Event,
    Item,
    LeaseId,
    Operation,
    Range,
    StoreUnavailable,
)
from gantry.store.changes import Changes
from gantry.store.leases import LeaseClocks, TimedLease
from gantry.store.limits import check_transaction
from gantry.store.sqlite.ledger import Ledger
from gantry.store.sqlite.lock import FileLock
from gantry.store.sqlite.reader import Reader
from gantry.store.sqlite.schema import connect, prepare, translated
from gantry.store.sqlite.writer import Writer

KEEP_REVISIONS = 100_000
KEEP_BYTES = 64 * 1024 * 1024
SHARED_LOOK_SECONDS = 0.005


async def open_sqlite(
    path: Path,
    *,
    create: bool = True,
    exclusive: bool = True,
    keep_revisions: int = KEEP_REVISIONS,
    keep_bytes: int = KEEP_BYTES,
) -> SqliteStore:
    """Open the state file; history is kept for watches: so many revisions, and bytes of values.

    Raises StoreLocked (another process has it), StoreDamaged, and StoreUnavailable (the file
    is missing and ``create`` is off, or cannot be used).
    """
    lock, ledger, reader = await asyncio.to_thread(_open, path, create, exclusive)
    return SqliteStore(path, lock, ledger, reader, exclusive, keep_revisions, keep_bytes)


class SqliteStore:
    """Use ``open_sqlite``; belongs to the event loop that opened it."""

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        ledger: Ledger,
        reader: Reader,
        exclusive: bool,
        keep_revisions: int,
        keep_bytes: int,
    ) -> None:
        self.path = path
        self.commits = 0
        self._lock = lock
        self._reader = reader
        self._exclusive = exclusive
        self._changes = Changes()
        self._writer = Writer(ledger, path, keep_revisions, keep_bytes, self._changes.ring)
        self._clocks = LeaseClocks(self._end_lease)
        if exclusive:
            for lease, ttl_seconds in reader.leases():
                self._clocks.start(lease, ttl_seconds)

    @property
    def flushes(self) -> int:
        """Groups that reached the disk."""
        return self._writer.flushes

    async def get(self, key: str) -> Item | None:
        """The item, or None."""
        self._check_open()
        return self._reader.get(key)

    async def range(self, prefix: str) -> Range:
        """All items whose keys start with ``prefix``, sorted, at one revision."""
        self._check_open()
        return self._reader.range(prefix)

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """Apply ``ops`` if every compare holds; raises Conflict, LimitExceeded, LeaseGone."""
        check_transaction(compare, ops)
        work = partial(Ledger.apply, compare=tuple(compare), ops=tuple(ops))
        revision = await self._writer.submit(work)
        assert revision is not None
        self.commits += 1
        return revision

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Every change below ``prefix`` after revision ``after``, a transaction at a time."""
        while True:
            bell = self._changes.next_ring()
            self._check_open()
            page = self._reader.page(prefix, after)
            for transaction in page.transactions:
                yield transaction
            after = page.reached
            if after >= page.latest:
                await self._wait(bell)

    async def grant(self, ttl_seconds: float) -> TimedLease:
        """A new lease; its id is never used again."""
        lease = LeaseId(secrets.randbits(62) + 1)
        # First the clock: a caller cancelled in the commit must not leave a lease for ever.
        self._clocks.start(lease, ttl_seconds)
        await self._writer.submit(partial(Ledger.grant, lease=lease, ttl_seconds=ttl_seconds))
        return TimedLease(lease, ttl_seconds, self._clocks, self._end_lease)

    async def compact(self, revision: int) -> None:
        """Forget the history up to ``revision``."""
        await self._writer.submit(partial(Ledger.compact, revision=revision))

    async def close(self) -> None:
        """Finish the writes that wait, end the watches, let the next process in."""
        if self._changes.closed:
            return
        self._changes.close()
        await self._clocks.close()
        await self._writer.close()
        self._reader.close()
        self._lock.release()

    async def _end_lease(self, lease: LeaseId) -> None:
        await self._writer.submit(partial(Ledger.end_lease, lease=lease))

    async def _wait(self, bell: asyncio.Event) -> None:
        if self._exclusive:
            await bell.wait()
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bell.wait(), SHARED_LOOK_SECONDS)

    def _check_open(self) -> None:
        if self._changes.closed:
            raise StoreUnavailable("the store is closed")


def _open(path: Path, create: bool, exclusive: bool) -> tuple[FileLock, Ledger, Reader]:
    if not create and not path.exists():
        raise StoreUnavailable(
            f"there is no state file {path}",
            "bring back a copy with `gantry state restore`, or make a new cluster",
            object_name=str(path),
        )
    with contextlib.ExitStack() as undo:
        undo.enter_context(translated(path))
        lock = FileLock(path, exclusive=exclusive)
        undo.callback(lock.release)
        if create:
            _touch(path)
        writing = connect(path)
        undo.callback(writing.close)
        prepare(writing, path, create=create)
        ledger = Ledger(writing)
        reading = connect(path, reading=True)
        undo.pop_all()
    return lock, ledger, Reader(reading, path)


def _touch(path: Path) -> None:
    """Make the file, readable by its owner only, and its name durable."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
