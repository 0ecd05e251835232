"""Talking to the guest agent inside a guest, about freezing its file systems.

The other end is whatever runs in the guest: it may be silent, slow, or lie. So every answer is
bounded in size and time, only the answer to our own synchronisation is taken for one, and
nothing that it says is believed beyond a line in a log.

That file systems may be frozen is noted in a file before they are: whoever finds the
note (a later agent) thaws.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from gantry.hypervisors.contract import Say
from gantry.hypervisors.kvm import sockets
from gantry.model import timeouts

SOCKET: Final = "agent"
NOTE: Final = "frozen"
_MOST: Final = 64 * 1024
"""Bytes that are read of one answer, whatever comes before it."""
_MARK: Final = b"\xff"
"""Begins the answer to a synchronisation; no other JSON has such a byte."""


class NoAnswer(Exception):
    """It did not answer, or not as an agent does."""


class _Refused(Exception):
    """It answered with an error."""


class _Conversation:
    """One connection to the channel. After an error there is no second try on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, directory: Path) -> _Conversation:
        try:
            connection = sockets.connect(directory, SOCKET)
            return cls(*await asyncio.open_unix_connection(sock=connection, limit=_MOST))
        except OSError as error:
            raise NoAnswer(f"its channel is closed: {error.strerror or error}") from error

    async def synchronise(self) -> None:
        """What an earlier conversation left in the channel is passed over."""
        number = int.from_bytes(os.urandom(4), "big")
        async with _within(timeouts.GUEST_AGENT):
            await self._send("guest-sync-delimited", _MARK, id=number)
            left = _MOST
            while True:
                skipped = await self._reader.readuntil(_MARK)
                line = await self._reader.readline()
                left -= len(skipped) + len(line)
                if _decoded(line).get("return") == number:
                    return
                if left <= 0 or not line:
                    raise NoAnswer("it answers something else")

    async def ask(self, command: str, timeout: float) -> Any:
        """What it returns."""
        async with _within(timeout):
            await self._send(command)
            answer = _decoded(await self._reader.readline())
        if "return" not in answer:
            why = answer.get("error")
            text = why.get("desc") if isinstance(why, dict) else None
            raise _Refused(_shortly(text if isinstance(text, str) else "it does not say why"))
        return answer["return"]

    async def say(self, command: str) -> None:
        """Without waiting for an answer."""
        async with _within(timeouts.GUEST_AGENT):
            await self._send(command)

    def close(self) -> None:
        """Let go of the channel."""
        self._writer.transport.abort()

    async def _send(self, command: str, before: bytes = b"", **arguments: object) -> None:
        message: dict[str, object] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        self._writer.write(before + msgspec.json.encode(message) + b"\n")
        await self._writer.drain()


@contextlib.asynccontextmanager
async def frozen(directory: Path, say: Say) -> AsyncIterator[None]:
    """The guest's file systems are frozen meanwhile, where it has an agent that does it."""
    if not (directory / SOCKET).exists():
        yield
        return
    began = time.monotonic()
    count = 0
    try:
        count = await _freeze(directory, say)
        yield
    finally:
        if (directory / NOTE).exists():
            # Also where we are being ended ourselves.
            thawing = asyncio.ensure_future(thaw(directory))
            done = await asyncio.shield(thawing)
            took = 1000 * (time.monotonic() - began)
            if not done:
                say("the guest agent does not say that it has thawed: it is asked again")
            elif count:
                say(f"the guest had {count} file systems frozen for this moment ({took:.0f} ms)")


async def thaw(directory: Path) -> bool:
    """Ask it to thaw; whether it says that it has. The note stays where it does not."""
    try:
        talk = await _Conversation.open(directory)
    except NoAnswer:
        return False
    try:
        try:
            await talk.synchronise()
        except NoAnswer:
            # It may be busy freezing, and hear this when it is done.
            await talk.say("guest-fsfreeze-thaw")
            raise
        await talk.ask("guest-fsfreeze-thaw", timeouts.GUEST_AGENT)
    except (NoAnswer, _Refused):
        return False
    finally:
        talk.close()
    (directory / NOTE).unlink(missing_ok=True)
    return True


async def thaw_at_last(directory: Path, gone: asyncio.Event) -> None:
    """Ask again and again as long as the guest is there and the note is not taken away."""
    for pause in timeouts.GUEST_AGENT_PAUSES:
        if gone.is_set() or not (directory / NOTE).exists() or await thaw(directory):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await gone.wait()


async def _freeze(directory: Path, say: Say) -> int:
    """How many file systems it says that it has frozen."""
    try:
        talk = await _Conversation.open(directory)
        try:
            await talk.synchronise()
            status = await talk.ask("guest-fsfreeze-status", timeouts.GUEST_AGENT)
            if status == "frozen" and not (directory / NOTE).exists():
                say("the guest's file systems are frozen already, by somebody else: they stay so")
                return 0
            (directory / NOTE).touch(mode=0o600)
            count = await talk.ask("guest-fsfreeze-freeze", timeouts.GUEST_FREEZE)
        finally:
            talk.close()
    except (NoAnswer, _Refused) as error:
        say(f"no file system is frozen, the guest agent does not do it: {error}")
        return 0
    if not isinstance(count, int) or count < 1:
        say("the guest agent says that it has frozen nothing")
        return 0
    return count


@contextlib.asynccontextmanager
async def _within(timeout: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout:g} s") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise NoAnswer("it does not answer as an agent does") from error
    except OSError as error:
        raise NoAnswer(f"its channel was closed: {error.strerror or error}") from error


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        raise NoAnswer("it does not answer as an agent does") from None
    return found if isinstance(found, dict) else {}


def _shortly(text: str) -> str:
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain[:200]
