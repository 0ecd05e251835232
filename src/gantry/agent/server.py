"""The agent's HTTP server: who may ask, and turning requests into calls. No order's meaning.

Everybody with a certificate of the cluster's CA may connect; only the master may ask.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from gantry.agent import console, dispatch, hooks
from gantry.agent.channel import Channel
from gantry.agent.effect import Effect
from gantry.agent.effects import Effects
from gantry.agent.parts import Parts
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Reason, Rejected
from gantry.model.identity import Identity, Role
from gantry.model.orders import AnyOrder, HooksRun, Nothing
from gantry.network import web
from gantry.network.listening import Limits, listen
from gantry.ports.agents import Announced, Envelope, Event, Heartbeat, Hello
from gantry.rpc import certificates, wire

logger = logging.getLogger(__name__)

LIMITS: Final = Limits(connections=512, each=256)
"""The master opens one for each large order, question and console."""

_order = msgspec.json.Decoder(wire.OrderRequest)
_ask = msgspec.json.Decoder(wire.AskRequest)
_cancel = msgspec.json.Decoder(wire.CancelRequest)
_forget = msgspec.json.Decoder(wire.ForgetRequest)
_announce = msgspec.json.Decoder(wire.AnnounceRequest)


class Server:
    """Listens until it is closed."""

    def __init__(self, parts: Parts, effects: Effects) -> None:
        self._parts = parts
        self._effects = effects
        self._runner: web.ServerRunner | None = None
        self._channels: set[Channel] = set()
        self._admitted: weakref.WeakKeyDictionary[asyncio.Transport, float] = (
            weakref.WeakKeyDictionary()
        )
        """Connections of the master, and when its certificate ends."""
        self._paths: dict[str, Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]] = {
            wire.ORDER: self._on_order,
            wire.ASK: self._on_ask,
            wire.CANCEL: self._on_cancel,
            wire.FORGET: self._on_forget,
            wire.ANNOUNCE: self._on_announce,
            wire.EVENTS: self._on_events,
        }

    async def open(self, tls: ssl.SSLContext) -> None:
        """Listen; Rejected where the address cannot be used."""
        configuration = self._parts.configuration
        # A low-level server: no routing, no middleware, which would cost half of a call's time.
        server = web.Server(
            self._handle,
            request_factory=_request,
            access_log=None,
            keepalive_timeout=3600.0,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            await listen(self._runner, tls, configuration.host, configuration.port, LIMITS)
        except OSError as error:
            raise Rejected(
                f"the agent cannot listen on {configuration.host} port {configuration.port}: "
                f"{error.strerror}",
                "see whether another agent runs, and whether the machine has this address",
                reason=Reason.ENVIRONMENT,
            ) from error

    async def close(self) -> None:
        """Accept nothing more and end what is open."""
        self._parts.listeners.close()
        await asyncio.gather(*(channel.close() for channel in tuple(self._channels)))
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path == wire.ORDERS:
                return await self._on_orders(request)
            self._admit(request)
            if request.path.startswith(wire.CONSOLE):
                return await console.serve(self._parts, request)
            handler = self._paths.get(request.path)
            if handler is None:
                raise Rejected(f"{request.path} is not served here", reason=Reason.UNKNOWN)
            return await handler(request)
        except GantryError as error:
            return _refused(error)
        except ConnectionError:
            # The master went away; what it asked for goes on.
            return web.Response(status=499)
        except msgspec.MsgspecError as error:
            return _refused(
                Rejected(
                    f"the agent of node {self._parts.node} cannot read the request: {error}",
                    "bring the master and the node to the same version of Gantry",
                )
            )

    def _admit(self, request: web.BaseRequest) -> None:
        """Only the master of this cluster, with a certificate that has not ended."""
        transport = request.transport
        if transport is not None and self._admitted.get(transport, 0.0) > time.time():
            return
        peer = request.get_extra_info("peercert")
        who = certificates.identity(peer)
        if who != Identity(self._parts.configuration.cluster, Role.MASTER):
            logger.warning("refused peer=%s path=%s", who.uri if who else "unknown", request.path)
            raise Rejected(
                f"only the master may ask the agent of node {self._parts.node}; this is "
                f"{who.uri if who else 'a certificate without a name of ours'}",
                reason=Reason.STATE,
            )
        ends = certificates.not_after(peer or {})
        if ends < time.time():
            error = certificates.expired("the master", ends)
            logger.warning("refused peer=%s: %s", who.uri, error.message)
            raise error
        if transport is not None:
            self._admitted[transport] = ends

    async def _on_order(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _order.decode(await _body(request))
        effect = self._begin(received.envelope, received.order)
        if isinstance(effect, bytes):
            return _plain(effect)
        with effect.lines() as lines:
            line = await _next_line(lines, wire.STREAM_AFTER)
            if effect.outcome is not None and line is effect.outcome:
                return _plain(line)
            return await _stream(request, lines, line)

    def _begin(self, envelope: Envelope, order: AnyOrder) -> Effect | bytes:
        """The effect, or at once the answer of hooks where no script would run."""
        if isinstance(order, HooksRun):
            nothing = hooks.nothing_to_run(self._parts, order)
            if nothing is not None and self._effects.admit(envelope):
                return wire.answer(nothing)
        return self._effects.begin(
            envelope, order, lambda task: dispatch.carry_out(self._parts, order, task)
        )

    async def _on_orders(self, request: web.BaseRequest) -> web.StreamResponse:
        """Many orders over one connection; who may not give any is told so, and that is all."""
        refusal: GantryError | None = None
        try:
            self._admit(request)
        except GantryError as error:
            refusal = error

        def admit() -> None:
            self._admit(request)

        channel = Channel(admit, self._begin, self._effects.forget)
        self._channels.add(channel)
        try:
            return await channel.serve(request, refusal)
        finally:
            self._channels.discard(channel)

    async def _on_ask(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _ask.decode(await _body(request))
        try:
            async with asyncio.timeout(received.timeout):
                found = await dispatch.answer(self._parts, received.question)
        except TimeoutError:
            raise OperationFailed(
                f"node {self._parts.node} had no answer within {received.timeout:g} seconds"
            ) from None
        return _plain(wire.answer(found))

    async def _on_cancel(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _cancel.decode(await _body(request))
        await self._effects.cancel(received.key, received.epoch)
        return _plain(wire.answer(Nothing()))

    async def _on_forget(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _forget.decode(await _body(request))
        self._effects.forget(received.prefixes, received.epoch)
        return _plain(wire.answer(Nothing()))

    async def _on_announce(self, request: web.BaseRequest) -> web.StreamResponse:
        received = _announce.decode(await _body(request))
        before = self._effects.announce(received.epoch, received.node)
        if 0 < before.epoch < received.epoch:
            # One that was the master till now opens its stream anew, and hears of the new one.
            self._parts.listeners.close()
        announced = Announced(
            epoch=before.epoch,
            node=before.node,
            job=before.job,
            guests=self._parts.guests(),
            moment=self._effects.moment(),
        )
        return _plain(wire.answer(announced))

    async def _on_events(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await _begin(request)
        with self._parts.listeners.listen() as queue:
            # Listening begins first: what changes while the facts are read comes after them.
            facts = await self._parts.facts.told()
            event: Event | None = Hello(
                facts=facts, guests=self._parts.guests(), moment=self._effects.moment()
            )
            while event is not None:
                await response.write(wire.encode(event) + b"\n")
                event = await self._next_event(queue)
        await response.write_eof()
        return response

    async def _next_event(self, queue: asyncio.Queue[Event | None]) -> Event | None:
        try:
            async with asyncio.timeout(timeouts.EVENT_HEARTBEAT):
                return await queue.get()
        except TimeoutError:
            return Heartbeat(self._effects.moment())


async def _stream(
    request: web.BaseRequest, lines: asyncio.Queue[bytes], line: bytes
) -> web.StreamResponse:
    """All lines up to the outcome, which is the only kind that begins as an answer does."""
    response = await _begin(request)
    while True:
        await response.write(line)
        if line.startswith((b'{"answer"', b'{"error"')):
            await response.write_eof()
            return response
        line = await _next_line(lines, timeouts.EVENT_HEARTBEAT)


async def _next_line(lines: asyncio.Queue[bytes], patience: float) -> bytes:
    """The next line, or a sign of life."""
    try:
        async with asyncio.timeout(patience):
            return await lines.get()
    except TimeoutError:
        return wire.ALIVE


async def _begin(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    return response


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=wire.MAX_REQUEST
    )


async def _body(request: web.BaseRequest) -> bytes:
    return await request.read()


def _plain(line: bytes) -> web.Response:
    return web.Response(body=line, content_type="application/json")


def _refused(error: GantryError) -> web.Response:
    return web.Response(body=wire.error(error.info()), content_type="application/json", status=400)
