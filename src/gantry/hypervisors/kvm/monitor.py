"""One QMP connection to one QEMU: commands with our errors, events as a callback.

Whatever QEMU says is passed on in its own words; which command means what is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError, Runstate

from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Unavailable

# The library logs every lost connection as an error; each is raised here as well.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)
_log = logging.getLogger(__name__)

Event = Callable[[str, Mapping[str, Any]], None]
_NOW_AND_THEN: Final = 0.5
"""Seconds between two looks at what an event should have told."""


class _Listener(EventListener):
    """Hands every event on at once, and keeps none (the library's own would keep all)."""

    def __init__(self, guest: str, told: Event) -> None:
        super().__init__()
        self._guest = guest
        self._told = told

    def accept(self, event: Message) -> bool:
        """Part of the library's interface: False, as nothing is to be queued."""
        data = event.get("data", {})
        _log.debug("qemu=%s event=%s at=%s", self._guest, event["event"], event.get("timestamp"))
        self._told(str(event["event"]), data if isinstance(data, dict) else {})
        return False


class _News:
    """Passes events on, and wakes who waits for the next one."""

    def __init__(self, told: Event) -> None:
        self._told = told
        self._waiting: set[asyncio.Future[None]] = set()

    def told(self, event: str, data: Mapping[str, Any]) -> None:
        self._told(event, data)
        waiting, self._waiting = self._waiting, set()
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def next(self) -> asyncio.Future[None]:
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(found)
        found.add_done_callback(self._waiting.discard)
        return found


class Monitor:
    """A negotiated connection."""

    def __init__(self, client: QMPClient, guest: str, news: _News) -> None:
        self._client = client
        self._guest = guest
        self._news = news
        self._closing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        connection: socket.socket,
        guest: str,
        told: Event,
        timeout: float = timeouts.QMP,
    ) -> Monitor:
        """Negotiate on a connected socket. Unavailable where QEMU ends or stays silent."""
        client, news = QMPClient(guest), _News(told)
        client.register_listener(_Listener(guest, news.told))
        try:
            async with asyncio.timeout(timeout):
                await client.connect(connection)
        except TimeoutError:
            raise Unavailable(f"QEMU of {guest} does not answer within {timeout:g} s") from None
        except QMPError as error:
            raise Unavailable(f"QEMU of {guest} broke the connection: {error}") from error
        finally:
            if client.runstate is not Runstate.RUNNING:
                connection.close()
        return cls(client, guest, news)

    @property
    def usable(self) -> bool:
        """Whether the connection stands."""
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self, command: str, timeout: float = timeouts.QMP, **arguments: object
    ) -> Any:
        """A command's answer. OperationFailed: QEMU's refusal; Unavailable: no answer."""
        return await self._answer(command, timeout, arguments, at_once=False)

    async def execute_all(
        self, commands: Sequence[tuple[str, Mapping[str, object]]], timeout: float = timeouts.QMP
    ) -> list[Any]:
        """The answers of several, which are sent without waiting for one another's.

        QEMU carries them out in that order, and the later ones also where one was refused: they
        must be such that they fail then. The first error is raised when all have been answered.
        """
        found = await asyncio.gather(
            *(self._answer(name, timeout, given, at_once=False) for name, given in commands),
            return_exceptions=True,
        )
        for one in found:
            if isinstance(one, BaseException):
                raise one
        return found

    async def until(self, reached: Callable[[], Awaitable[bool]], timeout: float) -> bool:
        """Whether that came true; it is asked after each event of QEMU, and now and then."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            news = self._news.next()
            try:
                if await reached():
                    return True
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return False
                await asyncio.wait([news], timeout=min(left, _NOW_AND_THEN))
            finally:
                news.cancel()

    async def execute_at_once(self, command: str, **arguments: object) -> Any:
        """The same, past what QEMU is just doing; few commands can do that."""
        return await self._answer(command, timeouts.QMP, arguments, at_once=True)

    async def _answer(
        self, command: str, timeout: float, arguments: Mapping[str, object], *, at_once: bool
    ) -> Any:
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout):
                return await self._client.execute(command, dict(arguments), oob=at_once)
        except ExecuteError as error:
            raise OperationFailed(
                f"QEMU of {self._guest} refused {command}: {error}", object_name=self._guest
            ) from error
        except TimeoutError:
            raise Unavailable(
                f"QEMU of {self._guest} did not answer {command} within {timeout:g} s"
            ) from None
        except QMPError as error:
            raise self._gone(error) from error
        finally:  # without arguments: there may be secrets among them
            took = 1000 * (time.monotonic() - began)
            _log.debug("qemu=%s command=%s ms=%.1f", self._guest, command, took)

    def _gone(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"QEMU of {self._guest} is gone: {error}",
            "a guest that is to be up is started again by itself; then once more",
            object_name=self._guest,
        )

    async def give(self, handle: int, name: str) -> None:
        """Give QEMU an open file, which it knows as ``name`` from then on."""
        try:
            self._client.send_fd_scm(handle)
        except (OSError, QMPError) as error:
            raise self._gone(error) from error
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """Let go of the connection; QEMU goes on. Several may do so at the same time."""
        async with self._closing:  # the library cannot stand two at once
            try:
                await self._client.disconnect()
            except (EOFError, OSError, QMPError):
                return  # QEMU was faster
