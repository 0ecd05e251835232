"""The master's end: ``ports.agents.Agents`` over HTTP/1.1 with mutual TLS.

One session for all nodes; connections are kept. Orders share one WebSocket a node; only large
ones go alone, so that they hold no others up. A peer that is not the node that was meant is
found out in the handshake, before anything is sent.
"""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from gantry.model import timeouts
from gantry.model.errors import (
    GantryError,
    OperationFailed,
    OtherClock,
    Reason,
    Stopping,
    TooLate,
    Unavailable,
    from_info,
)
from gantry.model.identity import node_host
from gantry.model.names import Uuid
from gantry.model.orders import Order, Question
from gantry.ports.agents import (
    Address,
    Announced,
    Envelope,
    Event,
    Heartbeat,
    Hello,
    Progress,
)
from gantry.rpc import wire
from gantry.rpc.certificates import Files, client_context
from gantry.rpc.channel import Channel
from gantry.rpc.clocks import Clocks
from gantry.rpc.console import ConsoleChannel
from gantry.rpc.diagnosis import explain

A = TypeVar("A", bound=msgspec.Struct)

_LOST = (aiohttp.ClientError, OSError, TimeoutError, EOFError)
_LARGE: Final = 256 * 1024
"""Bytes of a body that is written piece by piece, so that the event loop is not held up."""
_DISCARD: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER``: on, for no time."""
_UNHEARD: Final = int((timeouts.NODE_DOWN_AFTER - timeouts.RECONNECT) * 1000)
"""Milliseconds for which what was sent may be without an acknowledgement."""
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_lines = msgspec.json.Decoder(wire.Line)
_announced = msgspec.json.Decoder(Announced)


async def _knock(at: Address) -> None:
    """See whether anybody answers at all; TimeoutError or OSError soon where nobody does.

    A connection that is begun while a node is cut off asks again after pauses that grow: it
    would find out late that the node is back. This one is given up early, and begun anew.
    """
    async with asyncio.timeout(timeouts.KNOCK):
        _, writer = await asyncio.open_connection(at.host, at.port)
    writer.close()


def _forgetful(where: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that delivers nothing late.

    What a node did not get in time is given to it again over another connection. The system
    would deliver the first one too, perhaps much later, when the agent has forgotten the key.
    So it is to give up a little before we do, and to send nothing more after a close.
    """
    made = socket.socket(*where[:3])
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
    return made


class HttpAgents:
    """Build it in the event loop; ``close`` it in the end."""

    def __init__(self, files: Files, cluster: Uuid, node: Uuid) -> None:
        """``files`` are the certificate of the master on ``node``; Rejected where they cannot
        be used.
        """
        self._files = files
        self._cluster = cluster
        self._node = node
        self._clocks = Clocks()
        self._ended: dict[Uuid, float] = {}
        """When agents ended that were told to, in the loop's time, until they are there again."""
        self._tls = client_context(files)
        self._connector = aiohttp.TCPConnector(
            ssl=self._tls,
            limit=0,
            keepalive_timeout=300.0,
            ttl_dns_cache=60,
            socket_factory=_forgetful,
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=True,
            raise_for_status=False,
            read_bufsize=wire.MAX_LINE,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        )
        self._channels: dict[Address, Channel] = {}
        self._opening: dict[Address, asyncio.Lock] = {}

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """See the port. A node that is silent for 10 s is Unavailable."""
        try:
            return await self._order(to, envelope, order, progress)
        except OtherClock:
            # Restarted meanwhile: a new agent is told who is master before anything is ordered.
            self._clocks.forget(to.node)
            return await self._order(to, envelope, order, progress)
        except TooLate:
            # Perhaps what is known of its clock is too old.
            self._clocks.forget(to.node)
            raise

    async def _order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None,
    ) -> A:
        if not self._clocks.knows(to.node):
            await self.announce(to, envelope.epoch)
        until = self._clocks.until(to.node, envelope.until)
        envelope = msgspec.structs.replace(envelope, until=until.seconds, clock=until.clock)
        sent: Any = order
        body = wire.encode(wire.OrderRequest(envelope, sent))
        limit = envelope.timeout + timeouts.NODE_DOWN_AFTER
        if len(body) <= _LARGE:

            def said(text: str) -> None:
                if progress is not None:
                    progress(Progress(text))

            answer: A = self._answer(to, await self._line(to, body, limit, said), order.answer)
            return answer
        return await self._order_alone(to, body, limit, type(order), progress)

    async def _order_alone(
        self,
        to: Address,
        body: bytes,
        limit: float,
        kind: type[Order[A]],
        progress: Callable[[Progress], None] | None,
    ) -> A:
        # The agent says that it is alive every few seconds, so silence tells of its end.
        limits = aiohttp.ClientTimeout(
            sock_connect=timeouts.CONNECT, sock_read=timeouts.NODE_DOWN_AFTER
        )
        try:
            async with (
                asyncio.timeout(limit),
                self._post(to, wire.ORDER, body, limits) as response,
            ):
                async for text in response.content:
                    line: wire.Line = self._decoded(to, text, _lines)
                    if line.progress is not None and progress is not None:
                        progress(Progress(line.progress))
                    if line.answer or line.error:
                        answer: A = self._answer(to, line, kind.answer)
                        return answer
        except _LOST as error:
            raise await self._explained(to, error) from error
        raise Unavailable(f"node {to.name} broke the answer off", node=to.name)

    async def ask(self, to: Address, question: Question[A], timeout: float) -> A:
        """See the port."""
        asked: Any = question
        body = wire.encode(wire.AskRequest(asked, timeout))
        line = await self._call(to, wire.ASK, body, timeout)
        answer: A = self._answer(to, line, type(question).answer)
        return answer

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        """See the port."""
        body = wire.encode(wire.CancelRequest(key, epoch))
        self._checked(to, await self._call(to, wire.CANCEL, body, timeouts.URGENT))

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None:
        """See the port."""
        body = wire.encode(wire.ForgetCall(wire.ForgetRequest(tuple(prefixes), epoch)))
        self._checked(to, await self._line(to, body, timeouts.URGENT))

    async def announce(self, to: Address, epoch: int) -> Announced:
        """See the port."""
        body = wire.encode(wire.AnnounceRequest(epoch, self._node))
        line = await self._call(to, wire.ANNOUNCE, body, timeouts.URGENT)
        announced: Announced = self._decoded(to, self._checked(to, line), _announced)
        self._clocks.announced(to.node, announced.moment)
        return announced

    async def events(self, of: Address) -> AsyncIterator[Event]:
        """See the port."""
        limits = aiohttp.ClientTimeout(
            sock_connect=timeouts.CONNECT, sock_read=timeouts.NODE_DOWN_AFTER
        )
        try:
            await _knock(of)
            async with self._post(of, wire.EVENTS, b"{}", limits) as response:
                if response.status != 200:
                    refused = await response.content.readline()
                    self._checked(of, self._decoded(of, refused, _lines))
                async for text in response.content:
                    event: Event = self._decoded(of, text, _events)
                    self._ended.pop(of.node, None)
                    if isinstance(event, Hello | Heartbeat):
                        self._clocks.heard(of.node, event.moment)
                    yield event
        except _LOST as error:
            raise await self._explained(of, error) from error
        # It said so in due form, as one that is killed or cut off does not.
        self._ended[of.node] = asyncio.get_running_loop().time()
        raise Unavailable(f"the event stream of node {of.name} has ended", node=of.name)

    async def console(self, to: Address, uuid: Uuid) -> ConsoleChannel:
        """Attach to a guest's serial console; close the channel in the end."""
        try:
            async with asyncio.timeout(timeouts.CLIENT_READ):
                response = await self._session.ws_connect(
                    self._url(to, wire.CONSOLE + uuid),
                    server_hostname=node_host(self._cluster, to.node),
                    heartbeat=timeouts.CLIENT_READ,
                )
        except _LOST as error:
            raise await self._explained(to, error) from error
        return await ConsoleChannel.open(response, to)

    async def close(self) -> None:
        """Close all connections."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))
        await self._session.close()

    async def _line(
        self,
        to: Address,
        body: bytes,
        timeout: float,
        progress: Callable[[str], None] | None = None,
    ) -> wire.Line | wire.NumberedLine:
        """The last line of a call over the node's channel."""
        try:
            channel = self._channels.get(to)
            if channel is None or channel.closed:
                channel = await self._open(to)
            return await channel.call(body, timeout, progress)
        except _LOST as error:
            raise await self._explained(to, error) from error
        except msgspec.MsgspecError as error:
            raise self._nonsense(to, error) from error
        except GantryError as error:
            error.node = error.node or to.name
            raise

    async def _open(self, to: Address) -> Channel:
        """The channel to a node, opened once however many ask for it at the same time."""
        async with self._opening.setdefault(to, asyncio.Lock()):
            channel = self._channels.get(to)
            if channel is None or channel.closed:
                async with asyncio.timeout(timeouts.CONNECT):
                    channel_socket = await self._session.ws_connect(
                        self._url(to, wire.ORDERS),
                        server_hostname=node_host(self._cluster, to.node),
                        max_msg_size=wire.MAX_LINE,
                        timeout=aiohttp.ClientWSTimeout(ws_close=timeouts.FAREWELL),
                    )
                channel = self._channels[to] = Channel(channel_socket)
            return channel

    def _post(self, to: Address, path: str, body: bytes, limits: aiohttp.ClientTimeout) -> Any:
        return self._session.post(
            self._url(to, path),
            data=io.BytesIO(body) if len(body) > _LARGE else body,
            timeout=limits,
            server_hostname=node_host(self._cluster, to.node),
        )

    @staticmethod
    def _url(to: Address, path: str) -> str:
        host = f"[{to.host}]" if ":" in to.host else to.host
        return f"https://{host}:{to.port}{path}"

    async def _call(self, to: Address, path: str, body: bytes, timeout: float) -> wire.Line:
        limits = aiohttp.ClientTimeout(sock_connect=timeouts.CONNECT, total=timeout)
        try:
            async with self._post(to, path, body, limits) as response:
                line: wire.Line = self._decoded(to, await response.read(), _lines)
                return line
        except _LOST as error:
            raise await self._explained(to, error) from error

    async def _explained(self, to: Address, error: BaseException) -> GantryError:
        found = await explain(to, error, self._files, self._cluster)
        ended = self._ended.get(to.node)
        if ended is None or not isinstance(found, Unavailable):
            return found
        if asyncio.get_running_loop().time() > ended + timeouts.AGENT_RESTART:
            return found
        return Stopping(found.message, found.hint, node=found.node)

    def _checked(self, to: Address, line: wire.Line | wire.NumberedLine) -> bytes:
        if line.error is not None:
            named = line.error.node or to.name
            raise from_info(msgspec.structs.replace(line.error, node=named))
        return bytes(line.answer)

    def _answer(
        self, to: Address, line: wire.Line | wire.NumberedLine, kind: type[msgspec.Struct]
    ) -> Any:
        data = self._checked(to, line)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise self._nonsense(to, error) from error

    def _decoded(self, to: Address, data: bytes, decoder: Any) -> Any:
        try:
            return decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise self._nonsense(to, error) from error

    @staticmethod
    def _nonsense(to: Address, error: msgspec.MsgspecError) -> OperationFailed:
        return OperationFailed(
            f"the agent of node {to.name} answered what this master does not understand: {error}",
            "bring both to the same version of Gantry",
            reason=Reason.ENVIRONMENT,
            node=to.name,
        )
