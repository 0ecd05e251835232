"""Sends transactions: one request in flight, what waits meanwhile goes together in the next.

A request without an answer is not given up: it is sent again until its slot tells what became
of it, or nobody answers for longer than the time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from gantry.model.errors import GantryError
from gantry.ports.store import (
    Compare,
    Conflict,
    LeaseGone,
    LeaseId,
    Operation,
    Put,
    StoreUnavailable,
)
from gantry.store.etcd import problems, wire
from gantry.store.etcd.gateway import Gateway
from gantry.store.etcd.grouping import Place, Waiting, conflicting, group_size, looked_at, written
from gantry.store.etcd.problems import Refused
from gantry.store.etcd.slot import Slot, new_name

_AGAIN = -1


class Writer:
    """Belongs to one event loop."""

    def __init__(
        self,
        gateway: Gateway,
        place: Place,
        slot: Slot,
        committed: Callable[[int, int], None],
    ) -> None:
        """``committed`` hears of each request: its revision and its bytes."""
        self.commits = 0
        self.flushes = 0
        self._gateway = gateway
        self._place = place
        self._slot = slot
        self._committed = committed
        self._queue: deque[Waiting] = deque()
        self._bell = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="etcd-writer")

    def submit(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> asyncio.Future[int]:
        """Queue it; the answer is its revision, Conflict, LeaseGone or StoreUnavailable."""
        if self._closing:
            raise StoreUnavailable("the store is closed")
        waiting = Waiting(compare, ops)
        self._queue.append(waiting)
        self._bell.set()
        return waiting.answer

    async def close(self) -> None:
        """Finish what is queued."""
        self._closing = True
        self._bell.set()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._queue or not self._closing:
            await self._bell.wait()
            self._bell.clear()
            while self._queue:
                await self._next()

    async def _next(self) -> None:
        group = [self._queue.popleft() for _ in range(group_size(self._queue))]
        try:
            revision = await self._write(group)
        except (Conflict, LeaseGone) as refusal:
            if len(group) == 1:
                _answer(group, refusal)
                return
            # Which of them it was is not known: each for itself, in the same order.
            for each in reversed(group):
                each.alone = True
                self._queue.appendleft(each)
        # Whatever it is, all who wait must hear of it.
        except Exception as error:
            _answer(group, error)
        else:
            self.commits += len(group)
            _answer(group, revision)

    async def _write(self, group: list[Waiting]) -> int:
        if not any(each.puts for each in group):
            found = await self._look(group[0])
            if found is not None:
                return found
        while True:
            name, former = new_name(), await self._slot.prepare()
            request = written(group, self._place, former, name)
            self._slot.expect(name)
            try:
                answer = await self._gateway.call(wire.TXN, request, wire.TxnAnswer)
            except Refused as refused:
                raise await self._gone(group) from refused
            except GantryError:
                self._slot.lose()
                raise
            revision = await self._outcome(answer.value, answer.doubtful, former, name)
            if revision == _AGAIN:
                continue
            if revision is None:
                raise self._conflict(group, answer.value.ranges())
            self.flushes += 1
            self._committed(revision, sum(each.size for each in group))
            return revision

    async def _outcome(
        self, answer: wire.TxnAnswer, doubtful: bool, former: bytes, name: bytes
    ) -> int | None:
        """The revision, None where it was not carried out and never will be, or ``_AGAIN``."""
        if answer.succeeded:
            self._slot.settle(name)
            return answer.header.revision
        slot = next(iter(answer.ranges()[0].kvs), wire.KeyValue())
        if slot.value == former and doubtful:
            # One that was sent before may still be under way, and meet a world that fits it.
            slot = await self._slot.take()
            return slot.mod_revision if slot.value == name else None
        if slot.value == former:
            return None
        if slot.value != name and not doubtful and self._slot.adopt(slot.value):
            # The last request of a process before this one has only now been carried out.
            return _AGAIN
        if slot.value != name:
            raise self._slot.taken()
        self._slot.settle(name)
        return slot.mod_revision

    def _conflict(self, group: list[Waiting], found: list[wire.RangeAnswer]) -> GantryError:
        _, marker, *compared = found
        if b"".join(each.value for each in marker.kvs) != self._place.guard:
            return problems.restoring()
        compare = [one for each in group for one in each.compare]
        return Conflict(conflicting(compare, self._place.prefix, compared))

    async def _look(self, one: Waiting) -> int | None:
        """The present revision where there is nothing to change; raises Conflict."""
        request = looked_at(one, self._place.prefix, self._slot.key)
        answer = (await self._gateway.call(wire.TXN, request, wire.TxnAnswer)).value
        _, *found = answer.ranges()
        if not answer.succeeded:
            raise Conflict(conflicting(one.compare, self._place.prefix, found))
        return None if any(each.count for each in found) else answer.header.revision

    async def _gone(self, group: list[Waiting]) -> LeaseGone:
        """Which of the leases is; nothing was carried out, and the slot is as it was."""
        leases = [
            op.lease
            for each in group
            for op in each.ops
            if isinstance(op, Put) and op.lease is not None
        ]
        for lease in dict.fromkeys(leases):
            if not await self._lives(lease):
                return LeaseGone(lease)
        return LeaseGone(leases[0])

    async def _lives(self, lease: LeaseId) -> bool:
        answer = await self._gateway.call(
            wire.TIME_TO_LIVE, wire.LeaseRequest(lease), wire.TimeToLive
        )
        return answer.value.TTL > 0


def _answer(group: list[Waiting], outcome: int | Exception) -> None:
    for each in group:
        # A caller that was cancelled does not listen any more.
        with contextlib.suppress(asyncio.InvalidStateError):
            if isinstance(outcome, int):
                each.answer.set_result(outcome)
            else:
                each.answer.set_exception(outcome)
