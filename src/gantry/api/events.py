"""``events``: what changes, as lines. A stream is told of states, not of every step to them.

Whoever changes jobs or live states rings the bell; each stream then compares what it has told
with what is. So a slow reader misses steps and never the last state, and piles nothing up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from aiohttp import web

from gantry import __version__
from gantry.api import exchange
from gantry.api.query import instance as instances
from gantry.api.query import status
from gantry.api.query.listing import Listings
from gantry.api.query.view import View
from gantry.model.jobs import Job, JobStatus
from gantry.model.names import JobId, Uuid
from gantry.ports.queue import Queue
from gantry.supervision.hook_points import HookPoints

_PAUSE: Final = 0.1
"""Seconds between two comparisons, however often the bell rings."""
_LONGEST: Final = 2000
"""Characters of an error's message; the job has it whole."""


class Bell:
    """Rung whenever jobs, the cluster or live states have changed."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Something changed."""
        for event in self._waiting:
            event.set()

    async def rung(self) -> AsyncIterator[None]:
        """Once at the beginning, and then once after one or several rings."""
        event = asyncio.Event()
        event.set()
        self._waiting.add(event)
        try:
            while True:
                await event.wait()
                event.clear()
                yield None
                await asyncio.sleep(_PAUSE)
        finally:
            self._waiting.discard(event)


class Told:
    """What one stream has told so far."""

    def __init__(self, listings: Listings, queue: Queue, points: HookPoints | None = None) -> None:
        self._listings = listings
        self._queue = queue
        self._points = points or HookPoints()
        self._seen = self._points.last
        self._view: View | None = None
        self._jobs: dict[JobId, JobStatus] = {}
        self._nodes: dict[Uuid, tuple[str, bool, bool, bool]] = {}
        self._instances: dict[Uuid, tuple[tuple[Any, ...], str, str]] = {}

    def changes(self) -> list[dict[str, Any]]:
        """What is not as it was told last, and what hook scripts did since."""
        found = self._points.after(self._seen)
        self._seen = self._points.last
        found += self._changed_jobs()
        view = self._listings.view()
        if view is not self._view:
            found += self._changed_nodes(view)
            found += self._changed_instances(view)
            self._view = view
        return found

    def _changed_jobs(self) -> Iterator[dict[str, Any]]:
        now = {job.id: job for job in self._queue.jobs()}
        for number, job in now.items():
            if self._jobs.get(number) is not job.status:
                yield {
                    "event": "job",
                    "id": number,
                    "status": job.status,
                    "summary": list(job.summary),
                    **_error(job),
                }
        for number in self._jobs.keys() - now.keys():
            yield {"event": "job-archived", "id": number}
        self._jobs = {number: job.status for number, job in now.items()}

    def _changed_nodes(self, view: View) -> Iterator[dict[str, Any]]:
        before, self._nodes = self._nodes, {}
        for uuid, node in view.cluster.nodes.items():
            now = (node.name, view.live(uuid).reachable, node.offline, node.drained)
            self._nodes[uuid] = now
            if before.get(uuid) != now:
                names = ("name", "reachable", "offline", "drained")
                yield {"event": "node", **dict(zip(names, now, strict=True))}
        for uuid in before.keys() - self._nodes.keys():
            yield {"event": "node-gone", "name": before[uuid][0]}

    def _changed_instances(self, view: View) -> Iterator[dict[str, Any]]:
        before, self._instances = self._instances, {}
        same_nodes = view.same_frame(self._view)
        for uuid, one in view.cluster.instances.items():
            parts, then = instances.depends(view, one), before.get(uuid)
            if then is not None and same_nodes and then[0] == parts:
                self._instances[uuid] = then
                continue
            word = status.of(view, one)
            self._instances[uuid] = (parts, word, one.name)
            if then is None or then[1:] != (word, one.name):
                yield {"event": "instance", "name": one.name, "status": word}
        for uuid in before.keys() - self._instances.keys():
            yield {"event": "instance-gone", "name": before[uuid][2]}


def _error(job: Job) -> dict[str, Any]:
    """Why it failed: ``hooks-denied`` is the code of a denial."""
    found = next((one.error for one in job.ops if one.error is not None), None)
    if found is None or not job.status.ended:
        return {}
    return {"error": {"code": found.code, "message": found.message[:_LONGEST]}}


class Events:
    """The handler."""

    def __init__(
        self, listings: Listings, queue: Queue, bell: Bell, points: HookPoints | None = None
    ) -> None:
        self._listings = listings
        self._queue = queue
        self._bell = bell
        self._points = points

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.get("/gantry/1/events", self.stream)]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """First ``{"event": "hello"}``, then every state once, then what changes."""
        return await exchange.lines(request, self._changes())

    async def _changes(self) -> AsyncIterator[dict[str, Any]]:
        yield {"event": "hello", "version": __version__}
        told = Told(self._listings, self._queue, self._points)
        async for _ in self._bell.rung():
            for change in told.changes():
                yield change
