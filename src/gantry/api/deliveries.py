"""Telling web servers of events: signed, in order, again after growing pauses, and not for ever.

A reader of the event stream like any other. What waits for a webhook is bounded in number and in
age, and kept in a file, so that a master that is started again goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from gantry.api.events import Bell, Told
from gantry.api.posting import Poster
from gantry.model import timeouts, webhooks
from gantry.model.entities import Webhook
from gantry.model.errors import GantryError
from gantry.model.names import Uuid
from gantry.ports.queue import Queue

_log = logging.getLogger(__name__)

MOST: Final = 1000
"""Events that wait for one webhook; then the oldest are dropped."""
OLDEST: Final = 86400.0
"""Seconds that an event waits at most."""
_SAVE_AFTER: Final = 1.0
"""Seconds in which several changes are one write."""


class Outbox(Protocol):
    """Where what waits is kept over a restart of the master. Errors are GantryError."""

    async def load(self) -> bytes:
        """What was saved last, or nothing."""

    async def save(self, data: bytes) -> None:
        """Keep it, as a whole."""


class Waiting(msgspec.Struct, kw_only=True):
    """An event that is to be told; ``id`` stays the same, ``at`` is in seconds since 1970."""

    id: str
    at: float
    event: dict[str, Any]
    attempts: int = 0


class Account(msgspec.Struct, kw_only=True):
    """How it stands with one webhook. ``failed`` counts attempts, ``dropped`` events."""

    waiting: list[Waiting] = []
    delivered: int = 0
    failed: int = 0
    dropped: int = 0
    last_delivered: float | None = None
    last_error: str = ""
    last_error_at: float | None = None


_decoder = msgspec.json.Decoder(dict[str, Account])
_encoder = msgspec.json.Encoder()


def pause(failures: int, chance: float) -> float:
    """Seconds until the next attempt, after so many failures; ``chance`` is from 0 to 1.

    Between half and the whole of the pause, so that many that failed together come apart.
    """
    pauses = timeouts.WEBHOOK_PAUSES
    return pauses[min(failures, len(pauses)) - 1] * (0.5 + chance / 2)


class Line:
    """One webhook, and the task that delivers to it."""

    def __init__(
        self,
        webhook: Webhook,
        account: Account,
        cluster: Callable[[], str],
        changed: Callable[[], None],
        pauses: Callable[[int, float], float],
    ) -> None:
        self.webhook = webhook
        self.account = account
        self.next_try: float | None = None
        self._queue = deque(account.waiting)
        self._cluster = cluster
        self._changed = changed
        self._pauses = pauses
        self._arrived = asyncio.Event()
        self._task = asyncio.create_task(self._deliver(), name=f"webhook {webhook.name}")

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._queue)

    def put(self, event: dict[str, Any], now: float) -> None:
        """One more event; the oldest is dropped where there are too many."""
        self._queue.append(Waiting(id=str(uuid.uuid4()), at=now, event=event))
        if len(self._queue) > MOST:
            # The first one may be on its way just now.
            del self._queue[1]
            self.account.dropped += 1
        self._arrived.set()
        self._changed()

    def saved(self) -> Account:
        """The account with all that waits."""
        return msgspec.structs.replace(self.account, waiting=list(self._queue))

    async def stop(self) -> None:
        """End it; what waits stays."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _deliver(self) -> None:
        async with Poster(self.webhook) as poster:
            failures = 0
            while True:
                self._drop_old(time.time())
                if not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                first = self._queue[0]
                first.attempts += 1
                problem = await self._post(poster, first)
                self._note(first, problem, time.time())
                failures = failures + 1 if problem else 0
                if failures:
                    seconds = self._pauses(failures, random.random())  # noqa: S311 - no secret
                    self.next_try = time.time() + seconds
                    await asyncio.sleep(seconds)
                    self.next_try = None

    async def _post(self, poster: Poster, first: Waiting) -> str:
        try:
            return await poster.post(self._body(first), first.id, first.attempts)
        except Exception:
            _log.exception("bug: webhook %s", self.webhook.name)
            return "an unexpected error: the master's log has more"

    def _note(self, first: Waiting, problem: str, now: float) -> None:
        account = self.account
        if problem:
            account.failed += 1
            account.last_error, account.last_error_at = problem, now
        else:
            account.delivered += 1
            account.last_delivered = now
            if self._queue and self._queue[0] is first:
                self._queue.popleft()
        self._changed()

    def _drop_old(self, now: float) -> None:
        while self._queue and self._queue[0].at < now - OLDEST:
            self._queue.popleft()
            self.account.dropped += 1
            self._changed()

    def _body(self, one: Waiting) -> bytes:
        return body(one.id, one.at, self._cluster(), one.event)


def body(number: str, at: float, cluster: str, event: dict[str, Any]) -> bytes:
    """The JSON document that is sent."""
    return _encoder.encode(
        {"version": 1, "id": number, "time": at, "cluster": cluster, "event": event}
    )


class Deliveries:
    """All webhooks; ``told`` makes a reader of the event stream."""

    def __init__(
        self,
        queue: Queue,
        bell: Bell,
        told: Callable[[], Told],
        outbox: Outbox | None = None,
        pauses: Callable[[int, float], float] = pause,
    ) -> None:
        self._queue = queue
        self._bell = bell
        self._told = told
        self._outbox = outbox
        self._pauses = pauses
        self._kept: dict[str, Account] = {}
        self._lines: dict[Uuid, Line] = {}
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Go on with what was kept, and listen."""
        if self._outbox is not None:
            try:
                self._kept = _decoder.decode(await self._outbox.load() or b"{}")
            except (msgspec.MsgspecError, GantryError) as error:
                _log.warning("what waited for webhooks cannot be read and is lost: %s", error)
        self._tasks = [
            asyncio.create_task(self._listen(), name="webhooks"),
            asyncio.create_task(self._save_now_and_then(), name="webhooks' outbox"),
        ]

    async def stop(self) -> None:
        """End in order; what waits is kept."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(line.stop() for line in self._lines.values()))
        if self._tasks:
            await self._save()

    def line(self, name: str) -> Line | None:
        """The webhook of that name."""
        return next((one for one in self._lines.values() if one.webhook.name == name), None)

    async def _listen(self) -> None:
        told: Told | None = None
        async for _ in self._bell.rung():
            try:
                await self._match()
                if not self._lines:
                    told = None
                    continue
                if told is None:
                    # How everything stands is no news.
                    told = self._told()
                    told.changes()
                    continue
                self._take(told.changes())
            except GantryError as error:
                _log.warning("webhooks: %s", error)
            except Exception:
                _log.exception("bug: an event was not told to webhooks")

    def _take(self, events: list[dict[str, Any]]) -> None:
        now = time.time()
        for event in events:
            for line in self._lines.values():
                if webhooks.wanted(line.webhook.events, event):
                    line.put(event, now)

    async def _match(self) -> None:
        """A line for each webhook that there is."""
        wanted = self._queue.snapshot().webhooks
        if self._lines.keys() == wanted.keys():
            return
        for gone in self._lines.keys() - wanted.keys():
            await self._lines.pop(gone).stop()
            self._dirty.set()
        for new in wanted.keys() - self._lines.keys():
            account = self._kept.pop(new, None) or Account()
            self._lines[new] = Line(
                wanted[new], account, self._cluster, self._dirty.set, self._pauses
            )
        # What is left was kept for webhooks that are no more.
        self._kept.clear()

    def _cluster(self) -> str:
        return self._queue.snapshot().cluster.name

    async def _save_now_and_then(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_SAVE_AFTER)
            self._dirty.clear()
            await self._save()

    async def _save(self) -> None:
        if self._outbox is None:
            return
        accounts = {uuid: line.saved() for uuid, line in self._lines.items()}
        try:
            await self._outbox.save(_encoder.encode({**self._kept, **accounts}))
        except GantryError as error:
            _log.warning("what waits for webhooks cannot be kept: %s", error)
