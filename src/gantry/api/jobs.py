"""``/gantry/1/jobs``: submitting, waiting, following, cancelling, archiving.

What a job does, and whether it may, is the queue's business.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from aiohttp import web

from gantry.api import access, exchange, redaction
from gantry.api.services import Services
from gantry.model.errors import Rejected
from gantry.model.jobs import JobChange, Submission
from gantry.model.names import JobId
from gantry.ports.queue import Queue

_LONGEST_REQUEST_ID: Final = 128


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST jobs/N/cancel``; ``kill``: also one that runs."""

    kill: bool = False


class ChangePriority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST jobs/N/priority``."""

    priority: int


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST jobs/archive``: either these jobs, or all that ended ``age`` seconds ago."""

    jobs: tuple[JobId, ...] | None = None
    age: float | None = None


_submissions = msgspec.json.Decoder(Submission)
_cancels = msgspec.json.Decoder(Cancel)
_priorities = msgspec.json.Decoder(ChangePriority)
_archives = msgspec.json.Decoder(Archive)


class Jobs:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.post("/gantry/1/jobs", self.submit),
            web.post("/gantry/1/jobs/archive", self.archive),
            web.get("/gantry/1/jobs/{job}", self.show),
            web.get("/gantry/1/jobs/{job}/log", self.log),
            web.get("/gantry/1/jobs/{job}/follow", self.follow),
            web.get("/gantry/1/jobs/{job}/wait", self.wait),
            web.post("/gantry/1/jobs/{job}/cancel", self.cancel),
            web.post("/gantry/1/jobs/{job}/priority", self.priority),
        ]

    async def submit(self, request: web.Request) -> web.StreamResponse:
        """``{"job": N}``; with ``?wait=1`` the ended job; with ``?follow=1`` the lines."""
        submission = await exchange.body(request, _submissions)
        if not 0 < len(submission.request_id) <= _LONGEST_REQUEST_ID:
            raise Rejected(
                "request_id must have 1 to 128 characters",
                "a random one for each job; a repeat with the same one is the same job",
            )
        known = msgspec.structs.replace(submission, requester=access.caller(request).name)
        follow, wait = exchange.flag(request, "follow"), exchange.flag(request, "wait")
        job = await self._queue.submit(known)
        if follow:
            told = await exchange.lines(request, self._told(job))
            await self._mind_the_end()
            return told
        if wait:
            ended = await self._queue.wait(job)
            await self._mind_the_end()
            return exchange.answer(redaction.job(ended))
        return exchange.answer({"job": job})

    async def show(self, request: web.Request) -> web.StreamResponse:
        """One job, archived or not."""
        found = await self._queue.get(exchange.job_id(request))
        return exchange.answer(redaction.job(found))

    async def wait(self, request: web.Request) -> web.StreamResponse:
        """One job when it has ended."""
        ended = await self._queue.wait(exchange.job_id(request))
        return exchange.answer(redaction.job(ended))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """``{"entries": […]}``."""
        entries = await self._queue.log(exchange.job_id(request))
        return exchange.answer({"entries": entries})

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """The lines after serial ``?after=S``, until the job has ended."""
        job, after = exchange.job_id(request), exchange.number(request, "after", 0)
        # An unknown job is an error of its own status, so it is found before the lines begin.
        await self._queue.get(job)
        return await exchange.lines(request, self._followed(job, after))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """``{"message": …}``."""
        wanted = await exchange.body(request, _cancels)
        done = await self._queue.cancel(exchange.job_id(request), kill=wanted.kill)
        return exchange.answer({"message": done})

    async def priority(self, request: web.Request) -> web.StreamResponse:
        """``{}``."""
        wanted = await exchange.body(request, _priorities)
        await self._queue.change_priority(exchange.job_id(request), wanted.priority)
        return exchange.answer({})

    async def archive(self, request: web.Request) -> web.StreamResponse:
        """``{"count": N}``, and ``jobs`` where they were named."""
        wanted = await exchange.body(request, _archives)
        if (wanted.jobs is None) == (wanted.age is None):
            raise Rejected("say which jobs, or which age in seconds", 'such as {"jobs": [7]}')
        if wanted.jobs is not None:
            moved = await self._queue.archive(wanted.jobs)
            return exchange.answer({"count": len(moved), "jobs": moved})
        age = wanted.age or 0.0
        if not 0 <= age < float("inf"):
            raise Rejected("the age is a number of seconds from 0 on")
        return exchange.answer({"count": await self._queue.auto_archive(age)})

    async def _mind_the_end(self) -> None:
        """Whoever destroyed the cluster hears of it before the master ends."""
        if self._queue.snapshot().cluster.destroyed:
            await self._services.destroyed()

    async def _told(self, job: JobId) -> AsyncIterator[Any]:
        yield {"job": job}
        async for change in self._followed(job):
            yield change

    async def _followed(self, job: JobId, after: int = 0) -> AsyncIterator[JobChange]:
        async for change in self._queue.follow(job, after):
            yield redaction.change(change)
