"""A guest's console as a stream of bytes in both directions, over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import msgspec

from gantry.model.errors import Unavailable, from_info
from gantry.ports.agents import Address
from gantry.rpc import wire


class ConsoleChannel:
    """What the master holds of a console; the agent's first text frame says whether it opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, socket: aiohttp.ClientWebSocketResponse, to: Address) -> ConsoleChannel:
        """Wait for the agent's word; raises what it said, with the node's name."""
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            await socket.close()
            raise Unavailable(f"node {to.name} closed the console", node=to.name)
        line = msgspec.json.decode(message.data, type=wire.Line)
        if line.error is not None:
            await socket.close()
            raise from_info(msgspec.structs.replace(line.error, node=to.name))
        return cls(socket)

    async def output(self) -> AsyncIterator[bytes]:
        """What the guest writes; ends when the console does."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                yield message.data

    async def write(self, data: bytes) -> None:
        """Type into the console."""
        try:
            await self._socket.send_bytes(data)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Unavailable("the console is closed") from error

    async def close(self) -> None:
        """Detach."""
        await self._socket.close()
