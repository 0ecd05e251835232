"""The one thread that writes, and its group commit; knows the ledger, no tables.

It takes what is queued (up to 256 requests), never waits for more, commits once, and answers
the whole group with one wake-up of the event loop. An event loop that is always busy starves
this thread of the interpreter's lock under Python's default of 5 ms: the process that owns
the store calls ``sys.setswitchinterval(0.0001)``.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gantry.model.errors import Rejected
from gantry.ports.store import StoreDamaged, StoreUnavailable
from gantry.store.sqlite.ledger import Ledger
from gantry.store.sqlite.schema import translated

GROUP = 256

Work = Callable[[Ledger], int | None]


class _Request(NamedTuple):
    work: Work
    answer: asyncio.Future[int | None]


class _Outcome(NamedTuple):
    request: _Request
    result: int | None
    error: Exception | None


class Writer:
    """Runs work on the ledger, in the order of the calls; belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        path: Path,
        keep_revisions: int,
        keep_bytes: int,
        committed: Callable[[], None],
    ) -> None:
        """``committed`` is called in the loop after each group that reached the disk."""
        self.flushes = 0
        self._ledger = ledger
        self._path = path
        self._keep_revisions = keep_revisions
        self._keep_bytes = keep_bytes
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._closed = False
        self._damage: StoreDamaged | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> asyncio.Future[int | None]:
        """Queue ``work``; the answer comes after the commit that contains it."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        answer: asyncio.Future[int | None] = self._loop.create_future()
        self._queue.put(_Request(work, answer))
        return answer

    async def close(self) -> None:
        """Finish what is queued and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_ = True
        while open_:
            taken = self._take()
            group = [request for request in taken if request is not None]
            open_ = len(group) == len(taken)
            if group:
                self._answer(self._commit(group))
                self._prune()
        self._ledger.close()

    def _take(self) -> list[_Request | None]:
        taken = [self._queue.get()]
        with contextlib.suppress(queue.Empty):
            while len(taken) < GROUP and taken[-1] is not None:
                taken.append(self._queue.get_nowait())
        return taken

    def _commit(self, group: list[_Request]) -> list[_Outcome]:
        try:
            if self._damage is not None:
                raise self._damage
            with translated(self._path):
                self._ledger.begin()
                outcomes = [self._perform(request) for request in group]
                self.flushes += self._ledger.commit()
        # Whatever it is, all who wait must hear of it, and the next group must find the
        # connection clean.
        except Exception as error:
            self._ledger.rollback()
            if isinstance(error, StoreDamaged):
                # Writing on would make the damage worse.
                self._damage = error
            return [_Outcome(request, None, error) for request in group]
        return outcomes

    def _perform(self, request: _Request) -> _Outcome:
        try:
            return _Outcome(request, request.work(self._ledger), None)
        except Rejected as refusal:
            return _Outcome(request, None, refusal)

    def _answer(self, outcomes: list[_Outcome]) -> None:
        # A loop that is closed has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: list[_Outcome]) -> None:
        self._committed()
        for outcome in outcomes:
            answer = outcome.request.answer
            if answer.cancelled():
                continue
            if outcome.error is None:
                answer.set_result(outcome.result)
            else:
                answer.set_exception(outcome.error)

    def _prune(self) -> None:
        """Drop old history, some hundreds of revisions at a time, after the answers."""
        kept = self._ledger.revision - self._ledger.compacted
        many = kept > self._keep_revisions + max(1, self._keep_revisions // 100)
        large = self._ledger.history_bytes > self._keep_bytes
        if not many and not large:
            return
        try:
            with translated(self._path):
                self._ledger.begin()
                if many:
                    self._ledger.compact(self._ledger.revision - self._keep_revisions)
                if large:
                    # An eighth more, so that it is not looked through at every commit.
                    self._ledger.shrink(self._keep_bytes - self._keep_bytes // 8)
                self._ledger.commit()
        except StoreUnavailable:
            # The next group meets the same trouble, and has somebody to tell.
            self._ledger.rollback()
