"""The Store in etcd: opening, and the port's methods in terms of their parts.

Below the prefix: ``d/`` has the store's keys, ``w/`` one slot a writer, ``restoring`` is there
while a copy is brought back. Revisions are etcd's and are shared by all who use it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from gantry.model.errors import GantryError
from gantry.ports.store import (
    Compare,
    Event,
    Item,
    Operation,
    Range,
    StoreUnavailable,
)
from gantry.store.etcd import problems, wire
from gantry.store.etcd.access import Access, check
from gantry.store.etcd.gateway import Gateway, Patience
from gantry.store.etcd.grouping import Place
from gantry.store.etcd.horizon import KEEP_BYTES, KEEP_REVISIONS, Horizon
from gantry.store.etcd.lease import EtcdLease
from gantry.store.etcd.problems import Kind, Refused
from gantry.store.etcd.slot import Slot
from gantry.store.etcd.watch import Watcher
from gantry.store.etcd.writer import Writer
from gantry.store.limits import check_transaction

logger = logging.getLogger("gantry.store")

_PAGE: Final = 2000
"""Keys read at once."""


async def open_etcd(
    access: Access,
    *,
    writer: str | None = None,
    patience: Patience | None = None,
    keep_revisions: int = KEEP_REVISIONS,
    keep_bytes: int = KEEP_BYTES,
    guard: bytes = b"",
) -> EtcdStore:
    """Log in, and see that a majority answers.

    ``writer`` names the one who writes, the same after a restart: two processes cannot write
    under one name. Without it a name is made up, and forgotten at ``close``. Raises Rejected
    (values or files that cannot be meant), StoreUnavailable, also while a copy is brought back:
    but for whom ``guard`` names as the one who does that.
    """
    check(access)
    gateway = Gateway(access, patience or Patience())
    store = EtcdStore(gateway, access, writer, Horizon(keep_revisions, keep_bytes), guard)
    try:
        found = await gateway.call(wire.RANGE, wire.RangeRequest(store.marker), wire.RangeAnswer)
        if found.value.kvs and not guard:
            raise problems.restoring()
    except BaseException:
        await store.close()
        raise
    return store


class EtcdStore:
    """Use ``open_etcd``; belongs to the event loop that opened it."""

    def __init__(
        self,
        gateway: Gateway,
        access: Access,
        writer: str | None,
        horizon: Horizon,
        guard: bytes,
    ) -> None:
        self.access = access
        self.gateway = gateway
        prefix = access.prefix.encode()
        self.data = prefix + b"d/"
        """Before all keys of the store."""
        self.marker = prefix + b"restoring"
        self._named = writer is not None
        name = writer or secrets.token_hex(8)
        self._slot = Slot(gateway, prefix + b"w/" + name.encode())
        place = Place(self.data, self._slot.key, self.marker, guard)
        self._writer = Writer(gateway, place, self._slot, self._wrote)
        self._horizon = horizon
        self._closed = asyncio.Event()
        self._compacting: asyncio.Task[None] | None = None

    @property
    def commits(self) -> int:
        """Transactions acknowledged to callers since opening."""
        return self._writer.commits

    @property
    def flushes(self) -> int:
        """Requests to write that were answered."""
        return self._writer.flushes

    async def get(self, key: str) -> Item | None:
        """The item, or None."""
        self._check_open()
        request = wire.RangeRequest(self.data + key.encode())
        answer = await self.gateway.call(wire.RANGE, request, wire.RangeAnswer)
        return next((wire.item(each, self.data) for each in answer.value.kvs), None)

    async def range(self, prefix: str) -> Range:
        """All items whose keys start with ``prefix``, sorted, at one revision."""
        self._check_open()
        while True:
            try:
                return await self._range(self.data + prefix.encode())
            except Refused:
                # It took so long that the revision of its first page was compacted.
                continue

    async def lasting(self) -> Range:
        """All items that no lease holds, for a copy."""
        self._check_open()
        return await self._range(self.data, lasting=True)

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """Apply ``ops`` if every compare holds; raises Conflict, LimitExceeded, LeaseGone."""
        check_transaction(compare, ops)
        return await self._writer.submit(compare, ops)

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Every change below ``prefix`` after revision ``after``, a revision at a time."""
        keys = (self.data, self.data + prefix.encode())
        watcher = Watcher(self.gateway, self._closed, keys, after)
        async with aclosing(watcher.transactions()) as found:
            async for transaction in found:
                yield transaction

    async def grant(self, ttl_seconds: float) -> EtcdLease:
        """A new lease, of at least so many seconds."""
        self._check_open()
        return await EtcdLease.grant(self.gateway, ttl_seconds, self._slot.key)

    async def compact(self, revision: int) -> None:
        """Forget the history up to ``revision``: that of all who use this etcd."""
        self._check_open()
        try:
            await self._compact(revision)
        except Refused as refused:
            if refused.kind is Kind.FUTURE:
                await self._compact((await self._range(self.data, only_count=True)).revision)

    async def close(self) -> None:
        """Finish the writes that wait, end the watches."""
        if self._closed.is_set():
            return
        self._closed.set()
        await self._writer.close()
        if self._compacting is not None:
            self._compacting.cancel()
            await asyncio.wait([self._compacting])
        if self._writer.flushes and not self._named:
            await self._forget_slot()
        await self.gateway.close()

    async def _range(
        self, prefix: bytes, *, only_count: bool = False, lasting: bool = False
    ) -> Range:
        items: list[Item] = []
        key, revision, more = prefix, 0, True
        while more:
            request = wire.RangeRequest(
                key, wire.end_of(prefix), _PAGE, revision, count_only=only_count
            )
            found = (await self.gateway.call(wire.RANGE, request, wire.RangeAnswer)).value
            wanted = (each for each in found.kvs if not (lasting and each.lease))
            items += [wire.item(each, self.data) for each in wanted]
            revision = revision or found.header.revision
            more = found.more
            if found.kvs:
                key = found.kvs[-1].key + b"\0"
        return Range(revision, tuple(items))

    async def _compact(self, revision: int) -> None:
        if revision > 0:
            await self.gateway.call(wire.COMPACT, wire.CompactRequest(revision), wire.Done)

    async def _forget_slot(self) -> None:
        try:
            await self._slot.remove()
        except (GantryError, Refused) as error:
            logger.warning("a writer's key is left in etcd: %s", error)

    def _wrote(self, revision: int, size: int) -> None:
        horizon = self._horizon.wrote(revision, size)
        if horizon is not None and (self._compacting is None or self._compacting.done()):
            self._compacting = asyncio.create_task(self._drop_history(horizon))

    async def _drop_history(self, revision: int) -> None:
        try:
            await self.compact(revision)
        except (GantryError, Refused) as error:
            logger.warning("old history stays in etcd: %s", error)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StoreUnavailable("the store is closed")
