"""Reading requests and writing answers: JSON bodies, query arguments, lines that follow.

Everything that a client sent passes here first; what does not fit is Rejected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from gantry.api import errors
from gantry.model import timeouts
from gantry.model.errors import GantryError, Rejected, Unavailable
from gantry.model.names import JobId

T = TypeVar("T")

_JSON: Final = {"Content-Type": "application/json"}
_LINES: Final = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"}
_TRUE: Final = ("1", "true", "yes")
_FALSE: Final = ("", "0", "false", "no")
_SILENCE: Final = b"\n"
"""An empty line: nothing happened, and the master is alive."""

_END: Final = object()
_log = logging.getLogger(__name__)

ENDING: Final = web.AppKey("ending", asyncio.Future)
"""Done when the master stops."""

encoder: Final = msgspec.json.Encoder()


async def body(request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
    """The request's body, or Rejected."""
    try:
        async with asyncio.timeout(timeouts.CLIENT_READ):
            data = await request.read()
    except TimeoutError:
        raise Rejected(
            f"the body of the request did not come within {timeouts.CLIENT_READ:g} seconds"
        ) from None
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected(
            f"the body of the request does not fit: {error}", "see docs/json.md"
        ) from None


def arguments(request: web.Request, *known: str) -> None:
    """Rejected where the query has an argument that is none of these."""
    unknown = set(request.query) - set(known)
    if unknown:
        raise Rejected(
            f"{request.path} has no argument {', '.join(sorted(unknown))}",
            f"it has {', '.join(known)}",
        )


def flag(request: web.Request, name: str) -> bool:
    """A query argument that is yes (``1``) or no (``0``, or missing)."""
    text = request.query.get(name, "").lower()
    if text not in _TRUE + _FALSE:
        raise Rejected(f"the argument {name} is 1 or 0, not {text!r}")
    return text in _TRUE


def number(request: web.Request, name: str, default: int) -> int:
    """A query argument that is a whole number from 0 on."""
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Rejected(f"the argument {name} is a number, not {text!r}")
    return int(text)


def job_id(request: web.Request) -> JobId:
    """The job in the path."""
    text = request.match_info["job"]
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Rejected(f"{text!r} is not the number of a job", "gnt-job list shows them")
    return JobId(int(text))


def encoded(data: bytes) -> web.Response:
    """An answer that is JSON already."""
    return web.Response(body=data, headers=_JSON)


def answer(value: Any) -> web.Response:
    """``value`` as JSON."""
    return web.Response(body=encoder.encode(value), headers=_JSON)


async def prepare(app: web.Application) -> None:
    """To be run when the application starts."""
    app[ENDING] = asyncio.get_running_loop().create_future()


async def end(app: web.Application) -> None:
    """To be run when the application stops: whatever streams is told so, and ends."""
    if not app[ENDING].done():
        app[ENDING].set_result(None)


async def lines(request: web.Request, source: AsyncIterator[Any]) -> web.StreamResponse:
    """Every value of ``source`` as one line of JSON, as it comes; empty lines in between.

    An error of the source becomes the last line. A client that went away, or that reads
    nothing for ``timeouts.URGENT``, ends it; ``source`` is closed in any case. The next value
    is asked for only when the last one was taken, so a slow reader piles nothing up.
    """
    response = web.StreamResponse(headers=_LINES)
    await response.prepare(request)
    task: asyncio.Task[bytes | None] | None = None
    ending = request.app[ENDING]
    try:
        while True:
            task = task or asyncio.create_task(_next(source))
            done, _ = await asyncio.wait(
                (task, ending), timeout=timeouts.EVENT_HEARTBEAT, return_when=FIRST_COMPLETED
            )
            line: bytes | None = _SILENCE
            if task in done:
                line, task = task.result(), None
            if line is None:
                break
            async with asyncio.timeout(timeouts.URGENT):
                await response.write(_last(_stopping()) if done == {ending} else line)
            if done == {ending}:
                break
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        await _close(source, task)
    return response


async def _next(source: AsyncIterator[Any]) -> bytes | None:
    """The next line, or None at the end; a source that failed ends after saying why."""
    try:
        value = await anext(source, _END)
    except GantryError as error:
        return _last(error)
    except Exception:
        _log.exception("bug: a stream ended")
        return _last(errors.unexpected())
    return None if value is _END else encoder.encode(value) + b"\n"


def _stopping() -> Unavailable:
    return Unavailable(
        "the master is stopping", "what it was doing goes on when it is there again: gnt-job list"
    )


def _last(error: GantryError) -> bytes:
    return encoder.encode(errors.document(error)) + b"\n"


async def _close(source: AsyncIterator[Any], task: asyncio.Task[bytes | None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
