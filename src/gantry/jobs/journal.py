"""Every write of the job engine goes through here; it decides nothing about jobs.

Each transaction compares the election key, so that a master that was replaced writes nothing
more, and each write of a job's record compares that record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from gantry.jobs import codec, limits
from gantry.jobs.entry import Entry
from gantry.jobs.state import State
from gantry.model.codec import encode as encode_entity
from gantry.model.entities import AnyEntity, Mirror
from gantry.model.entities import key as entity_key
from gantry.model.errors import Superseded, Unavailable
from gantry.model.jobs import Job
from gantry.model.replicas import MirrorChange, all_changed
from gantry.ports.store import (
    MAX_OPERATIONS,
    Compare,
    Conflict,
    Delete,
    LimitExceeded,
    Operation,
    Put,
    Store,
    StoreUnavailable,
)

ROOM: Final = MAX_OPERATIONS - 4
"""Operations of one transaction that are not the job's own record and log."""


class MasterNoMore(StoreUnavailable):
    """This process is the master no more; another one is, or will be."""

    code = "master-no-more"


class HandedOver(MasterNoMore):
    """The mastership is another node's, by a job that this master carried out."""

    code = "handed-over"


class Lost(BaseException):
    """This master must not go on: another one writes, or the store is gone."""


class Journal:
    """The store, as the engine writes to it. ``failed`` is set when the master must end."""

    def __init__(
        self,
        store: Store,
        election_revision: int,
        state: State,
        lease_left: Callable[[], float],
    ) -> None:
        self._store = store
        self._lease_left = lease_left
        self._election = Compare(codec.ELECTION, election_revision)
        self._state = state
        self._changing = asyncio.Lock()
        """Held from the look at mirrors until their changes are in the snapshot."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.awaited = 0
        """Commits that a job waited for."""

    async def write(
        self,
        ops: Sequence[Operation],
        *,
        entry: Entry | None = None,
        put: Iterable[AnyEntity] = (),
        delete: Iterable[AnyEntity] = (),
        mirrors: Iterable[MirrorChange] = (),
        awaited: bool = True,
    ) -> int:
        """One transaction; with ``entry`` it holds only while that job's record is ours.

        ``mirrors`` are changes of what is there when it is committed.
        Raises LimitExceeded with nothing done, and Lost.
        """
        put, delete, changes = tuple(put), tuple(delete), tuple(mirrors)
        if not changes:
            return await self._write(ops, entry, put, delete, awaited)
        async with self._changing:
            known = {**self._state.snapshot().mirrors}
            known |= {one.uuid: one for one in put if isinstance(one, Mirror)}
            after = {one.uuid: one for one in all_changed(known, changes)}
            put = (*(one for one in put if one.uuid not in after), *after.values())
            return await self._write(ops, entry, put, delete, awaited)

    async def _write(
        self,
        ops: Sequence[Operation],
        entry: Entry | None,
        put: tuple[AnyEntity, ...],
        delete: tuple[AnyEntity, ...],
        awaited: bool,
    ) -> int:
        compare = [self._election]
        if entry is not None:
            compare.append(Compare(codec.job_key(entry.id), entry.revision))
        entities: list[Operation] = [Put(entity_key(one), encode_entity(one)) for one in put]
        entities += [Delete(entity_key(one)) for one in delete]
        revision = await self._transaction(compare, [*ops, *entities], awaited)
        if entities:
            self._state.apply(revision, put, delete)
        return revision

    async def job(
        self,
        entry: Entry,
        job: Job,
        ops: Sequence[Operation] = (),
        *,
        put: Iterable[AnyEntity] = (),
        delete: Iterable[AnyEntity] = (),
        mirrors: Iterable[MirrorChange] = (),
    ) -> None:
        """Write the job's record as ``job`` with all else; the caller holds ``entry.lock``.

        The first one that stands also answers the client that submitted the job.
        """
        value = codec.encode(entry.record(job))
        if len(value) > limits.MAX_RECORD:
            job = limits.cut_down(job)
            value = codec.encode(entry.record(job))
        record = Put(codec.job_key(entry.id), value)
        awaited = not entry.done
        entry.revision = await self.write(
            [record, *ops], entry=entry, put=put, delete=delete, mirrors=mirrors, awaited=awaited
        )
        entry.show(job)
        if entry.acknowledged is not None and not entry.acknowledged.done():
            entry.acknowledged.set_result(entry.id)

    async def attempt(self, entry: Entry) -> None:
        """Another master goes on with the job."""
        async with entry.lock:
            job = msgspec.structs.replace(entry.job, attempt=entry.job.attempt + 1)
            try:
                await self.job(entry, job)
            except LimitExceeded:
                # Without its parameters it cannot go on: what it had done is undone.
                await self.job(entry, limits.bare(job))

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove keys, however many."""
        for start in range(0, len(keys), ROOM):
            await self.write([Delete(key) for key in keys[start : start + ROOM]], awaited=False)

    async def _transaction(
        self, compare: Sequence[Compare], ops: Sequence[Operation], awaited: bool
    ) -> int:
        if self.failed.done():
            raise Lost
        if self._lease_left() <= 0:
            raise self.lease_over()
        self.awaited += awaited
        try:
            return await self._store.txn(compare, ops)
        except (Conflict, StoreUnavailable) as error:
            self._fail(error)
            raise Lost from error

    def fault(self, what: str) -> None:
        """A fault of ours that only another master may get over: this one must end."""
        self._fail(
            StoreUnavailable(what, "another master goes on with the jobs; please report the log")
        )

    def superseded(self, error: Superseded) -> Lost:
        """An agent has heard of a newer master: this one must end."""
        self._fail(error)
        return Lost()

    def lease_over(self) -> Lost:
        """The lease was not renewed in time: another master may be there."""
        self._fail(MasterNoMore("this master's lease is over", "another one takes over"))
        return Lost()

    def handed_over(self, node: str) -> Lost:
        """``node`` is the master by what has just been committed: this one must end."""
        self._fail(HandedOver(f"node {node} is the master now", "it goes on with the jobs"))
        return Lost()

    def _fail(self, error: Conflict | StoreUnavailable | Superseded) -> None:
        if self.failed.done():
            return
        if not isinstance(error, StoreUnavailable):
            error = MasterNoMore(
                f"this master is master no more: {error.message}",
                "the new master goes on with the jobs",
            )
        self.failed.set_exception(error)
        # Whoever built the engine watches this; without a watcher it must not be an error twice.
        self.failed.exception()


def unavailable() -> Unavailable:
    """What clients hear when the master is ending."""
    return Unavailable(
        "the master is ending", "ask again: a new master takes up all jobs that were accepted"
    )


@contextlib.contextmanager
def told_unavailable() -> Iterator[None]:
    """Who asks from outside of a job hears that instead of Lost."""
    try:
        yield
    except Lost:
        raise unavailable() from None
