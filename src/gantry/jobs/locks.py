"""Who holds which lock, and who waits: in memory, decided at once, nothing is awaited here.

All locks of an operation, and one of the slots for running jobs, are granted together or not
at all, so nobody holds one lock while waiting for another. The order is (priority, job id).
A request waits behind every earlier one that it conflicts with, so nobody starves.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from gantry.model.locks import Lock, Mode, Needs
from gantry.model.names import JobId

Rank = tuple[int, int, int]
FIRST: Final = -1000
"""The priority of a command that a job's own hook waits for: nobody waits before it."""


class Request:
    """One operation's wish for all of its locks; ``granted`` is set when it has them."""

    __slots__ = ("granted", "job", "needs", "rank", "slot", "wake")

    def __init__(self, job: JobId, rank: Rank, needs: Needs, *, slot: bool) -> None:
        self.job = job
        self.rank = rank
        self.needs = needs
        self.slot = slot
        self.granted = False
        self.wake: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until it is granted."""
        if not self.granted:
            self.wake = asyncio.get_running_loop().create_future()
            await self.wake


class _Row:
    """One lock: who holds it, and the ranks of those who wait, by mode."""

    __slots__ = ("exclusive", "holders", "mode", "shared")

    def __init__(self) -> None:
        self.holders: set[JobId] = set()
        self.mode = Mode.SHARED
        self.shared: list[Rank] = []
        self.exclusive: list[Rank] = []

    def waiting(self, mode: Mode) -> list[Rank]:
        """The waiting ranks of one mode, sorted."""
        return self.shared if mode is Mode.SHARED else self.exclusive

    def lets(self, rank: Rank, mode: Mode) -> bool:
        """Whether the holders and the earlier waiting ones leave room."""
        if self.holders and (mode is Mode.EXCLUSIVE or self.mode is Mode.EXCLUSIVE):
            return False
        if self.exclusive and self.exclusive[0] < rank:
            return False
        return not (mode is Mode.EXCLUSIVE and self.shared and self.shared[0] < rank)

    def candidates(self) -> list[Rank]:
        """Those who may profit when something about this lock changed."""
        if self.holders and self.mode is Mode.EXCLUSIVE:
            return []
        head = self.exclusive[:1]
        if not head:
            return list(self.shared)
        return [rank for rank in self.shared if rank < head[0]] + head

    @property
    def idle(self) -> bool:
        """Whether nobody is interested any more."""
        return not (self.holders or self.shared or self.exclusive)


class LockView(NamedTuple):
    """One lock for people: its name, its mode where somebody holds it, jobs."""

    name: str
    mode: str | None
    owners: list[int]
    pending: list[int]


class LockTable:
    """All locks of the cluster. ``slots`` says how many jobs may run now."""

    def __init__(self, slots: Callable[[], int]) -> None:
        self._slots = slots
        self._running = 0
        self._starved = False
        self._rows: dict[Lock, _Row] = {}
        self._order: list[Rank] = []
        self._waiting: dict[Rank, Request] = {}
        self._turn = 0

    def request(self, job: JobId, priority: int, needs: Needs, *, slot: bool = True) -> Request:
        """Ask for all locks of ``needs``; see ``granted``, or await ``wait()``."""
        self._turn += 1
        request = Request(job, (priority, job, self._turn), needs, slot=slot)
        if self._grantable(request):
            self._grant(request)
        else:
            self._enqueue(request)
        return request

    def hold(self, job: JobId, needs: Needs) -> Request:
        """Locks that ``job`` held when the last master ended; nobody else can hold them yet."""
        self._turn += 1
        request = Request(job, (FIRST, job, self._turn), needs, slot=True)
        self._grant(request)
        return request

    def release(self, request: Request) -> None:
        """Give back what was granted, or stop waiting; wakes who can go on."""
        full = self._starved
        if request.granted:
            request.granted = False
            self._running -= request.slot
            for lock, _ in request.needs.locks:
                self._rows[lock].holders.discard(request.job)
        elif request.rank in self._waiting:
            self._dequeue(request)
        self._wake(self._order if full and request.slot else self._touched(request))
        for lock, _ in request.needs.locks:
            if lock in self._rows and self._rows[lock].idle:
                del self._rows[lock]

    def reorder(self, request: Request, priority: int) -> None:
        """Move a waiting request to another priority."""
        if request.rank in self._waiting:
            self._dequeue(request)
            request.rank = (priority, *request.rank[1:])
            self._enqueue(request)
            self._wake([request.rank, *self._touched(request)])

    def known(self, lock: Lock) -> bool:
        """Whether somebody holds it or waits for it."""
        return lock in self._rows

    def view(self) -> list[LockView]:
        """All locks that somebody holds or waits for, in the global order."""
        return [
            LockView(
                name=f"{lock.level.name.lower()}/{lock.name}",
                mode=row.mode.value if row.holders else None,
                owners=sorted(row.holders),
                pending=[rank[1] for rank in sorted((*row.shared, *row.exclusive))],
            )
            for lock, row in sorted(self._rows.items())
        ]

    def slots_changed(self) -> None:
        """More jobs may run than before."""
        self._wake(self._order)

    def blockers(self, request: Request) -> Iterator[tuple[Lock, JobId]]:
        """Which locks of a waiting request others hold, or wait for before it."""
        for lock, mode in request.needs.locks:
            row = self._rows.get(lock)
            if row is None or row.lets(request.rank, mode):
                continue
            held = row.holders and (mode is Mode.EXCLUSIVE or row.mode is Mode.EXCLUSIVE)
            yield from ((lock, job) for job in (row.holders if held else self._ahead(row, request)))

    def holders(self, needs: Needs) -> Iterator[tuple[Lock, JobId]]:
        """Those who hold a lock of ``needs`` in a mode that conflicts with it."""
        for lock, mode in needs.locks:
            row = self._rows.get(lock)
            if row is not None and (mode is Mode.EXCLUSIVE or row.mode is Mode.EXCLUSIVE):
                yield from ((lock, job) for job in row.holders)

    @property
    def idle(self) -> bool:
        """Whether nothing is held and nobody waits."""
        return not self._rows and not self._waiting and self._running == 0

    @staticmethod
    def _ahead(row: _Row, request: Request) -> list[JobId]:
        ranks = row.exclusive[:1] or row.shared[:1]
        return [JobId(rank[1]) for rank in ranks if rank < request.rank]

    def _grantable(self, request: Request) -> bool:
        if request.slot and self._running >= self._slots():
            self._starved = True
            return False
        rows = self._rows
        for lock, mode in request.needs.locks:
            row = rows.get(lock)
            if row is not None and not row.lets(request.rank, mode):
                return False
        return True

    def _grant(self, request: Request) -> None:
        for lock, mode in request.needs.locks:
            row = self._rows.setdefault(lock, _Row())
            row.holders.add(request.job)
            row.mode = mode
        self._running += request.slot
        request.granted = True
        if request.wake is not None and not request.wake.done():
            request.wake.set_result(None)

    def _enqueue(self, request: Request) -> None:
        insort(self._order, request.rank)
        self._waiting[request.rank] = request
        for lock, mode in request.needs.locks:
            insort(self._rows.setdefault(lock, _Row()).waiting(mode), request.rank)

    def _dequeue(self, request: Request) -> None:
        del self._waiting[request.rank]
        _remove(self._order, request.rank)
        for lock, mode in request.needs.locks:
            _remove(self._rows[lock].waiting(mode), request.rank)

    def _touched(self, request: Request) -> list[Rank]:
        ranks: set[Rank] = set()
        for lock, _ in request.needs.locks:
            row = self._rows.get(lock)
            if row is not None:
                ranks.update(row.candidates())
        return sorted(ranks)

    def _wake(self, ranks: list[Rank]) -> None:
        self._starved = False
        for rank in tuple(ranks):
            request = self._waiting.get(rank)
            if request is None or not self._grantable(request):
                if self._starved:
                    break
                continue
            self._dequeue(request)
            self._grant(request)


def _remove(ranks: list[Rank], rank: Rank) -> None:
    del ranks[bisect_left(ranks, rank)]
