"""One QMP connection to one QEMU: commands with our errors, events as a callback.

Whatever QEMU says is passed on in its own words; which command means what is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from qemu.qmp import EventListener, ExecuteError, Message, QMPClient, QMPError, Runstate

from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Unavailable

# The library logs every lost connection as an error; each is raised here as well.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

Event = Callable[[str, Mapping[str, Any]], None]


class _Listener(EventListener):
    """Hands every event on at once, and keeps none (the library's own would keep all)."""

    def __init__(self, told: Event) -> None:
        super().__init__()
        self._told = told

    def accept(self, event: Message) -> bool:
        """Part of the library's interface: False, as nothing is to be queued."""
        data = event.get("data", {})
        self._told(str(event["event"]), data if isinstance(data, dict) else {})
        return False


class Monitor:
    """A negotiated connection."""

    def __init__(self, client: QMPClient, guest: str) -> None:
        self._client = client
        self._guest = guest
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
        client = QMPClient(guest)
        client.register_listener(_Listener(told))
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
        return cls(client, guest)

    @property
    def usable(self) -> bool:
        """Whether the connection stands."""
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self, command: str, timeout: float = timeouts.QMP, **arguments: object
    ) -> Any:
        """A command's answer. OperationFailed: QEMU's refusal; Unavailable: no answer."""
        return await self._answer(command, timeout, arguments, at_once=False)

    async def execute_at_once(self, command: str, **arguments: object) -> Any:
        """The same, past what QEMU is just doing; few commands can do that."""
        return await self._answer(command, timeouts.QMP, arguments, at_once=True)

    async def _answer(
        self, command: str, timeout: float, arguments: Mapping[str, object], *, at_once: bool
    ) -> Any:
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
            raise Unavailable(f"QEMU of {self._guest} is gone: {error}") from error

    async def give(self, handle: int, name: str) -> None:
        """Give QEMU an open file, which it knows as ``name`` from then on."""
        try:
            self._client.send_fd_scm(handle)
        except (OSError, QMPError) as error:
            raise Unavailable(f"QEMU of {self._guest} is gone: {error}") from error
        await self.execute("getfd", fdname=name)

    async def close(self) -> None:
        """Let go of the connection; QEMU goes on. Several may do so at the same time."""
        async with self._closing:  # the library cannot stand two at once
            try:
                await self._client.disconnect()
            except (EOFError, OSError, QMPError):
                return  # QEMU was faster
