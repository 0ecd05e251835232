"""An order channel: a WebSocket over which the master gives many orders at a time.

Only the transport of calls and of their lines; what an order does is the effects' business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType

from gantry.agent.effect import Effect
from gantry.model import timeouts
from gantry.model.errors import GantryError, Rejected
from gantry.model.orders import AnyOrder, Nothing
from gantry.network import web
from gantry.ports.agents import Envelope
from gantry.rpc import wire
from gantry.rpc.outbox import Outbox

_LAST_WORDS: Final = 0.5
"""Seconds for what has just been done to reach the master when the agent ends."""
_calls = msgspec.json.Decoder(wire.Call)
_numbers = msgspec.json.Decoder(wire.Number)


class Channel:
    """One connection of the master. ``admit`` raises where its certificate does not do any more;
    ``begin`` begins an order, or knows its answer; ``forget`` forgets effects.
    """

    def __init__(
        self,
        admit: Callable[[], None],
        begin: Callable[[Envelope, AnyOrder], Effect | bytes],
        forget: Callable[[Sequence[str], int], None],
    ) -> None:
        self._admit = admit
        self._begin = begin
        self._forget = forget
        self._socket = web.WebSocketResponse(
            max_msg_size=wire.MAX_REQUEST, compress=False, timeout=_LAST_WORDS
        )
        self._outbox: Outbox | None = None
        self._calls: set[_Call] = set()
        """Those whose effects have not ended."""
        self._over = asyncio.Event()
        """There are none."""
        self._over.set()
        self._next_beat: asyncio.TimerHandle | None = None

    async def serve(
        self, request: web.BaseRequest, refusal: GantryError | None
    ) -> web.StreamResponse:
        """Until either side closes; with ``refusal`` that is all that is said."""
        await self._socket.prepare(request)
        if refusal is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.send_bytes(wire.error(refusal.info()))
            await self._socket.close()
            return self._socket
        self._outbox = Outbox(self._socket)
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    self._take(message.data, self._outbox)
        finally:
            # What was ordered goes on; only nobody hears of it here any more.
            for call in tuple(self._calls):
                call.effect.leave(call.tell)
                self._ended(call)
            if self._next_beat is not None:
                self._next_beat.cancel()
            await self._outbox.close()
        return self._socket

    async def close(self) -> None:
        """Let the last answers go out, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._over.wait()
                if self._outbox is not None:
                    await self._outbox.drained()
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    def _take(self, data: bytes, outbox: Outbox) -> None:
        """One frame: the calls in it, in their order."""
        for text in wire.lines(data):
            try:
                call = _calls.decode(text)
                self._admit()
                answer = self._perform(call)
            except GantryError as error:
                outbox.put(_of(text, wire.error(error.info())))
            except msgspec.MsgspecError as error:
                outbox.put(_of(text, wire.error(_unreadable(error).info())))
            else:
                if isinstance(answer, bytes):
                    outbox.put(wire.numbered(call.id, answer))
                else:
                    self._follow(call.id, answer, outbox)

    def _perform(self, call: wire.Call) -> Effect | bytes:
        if call.forget is not None:
            self._forget(call.forget.prefixes, call.forget.epoch)
            return wire.answer(Nothing())
        if call.order is None or call.envelope is None:
            raise Rejected("the call has no order")
        effect = self._begin(call.envelope, call.order)
        if isinstance(effect, Effect) and effect.outcome is not None:
            return effect.outcome
        return effect

    def _follow(self, number: int, effect: Effect, outbox: Outbox) -> None:
        call = _Call(number, effect, outbox, self._ended)
        self._calls.add(call)
        self._over.clear()
        effect.follow(call.tell)
        if self._next_beat is None:
            self._beat_later()

    def _ended(self, call: _Call) -> None:
        self._calls.discard(call)
        if not self._calls:
            self._over.set()

    def _beat_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_beat = loop.call_later(timeouts.EVENT_HEARTBEAT, self._beat)

    def _beat(self) -> None:
        """A sign of life of all that still runs."""
        self._next_beat = None
        for call in tuple(self._calls):
            call.tell(wire.ALIVE)
        if self._calls:
            self._beat_later()


class _Call:
    """An effect that runs, and the number under which its lines are told, up to its outcome."""

    def __init__(
        self, number: int, effect: Effect, outbox: Outbox, ended: Callable[[_Call], None]
    ) -> None:
        self.effect = effect
        self._number = number
        self._outbox = outbox
        self._ended = ended

    def tell(self, line: bytes) -> None:
        self._outbox.put(wire.numbered(self._number, line))
        if line is self.effect.outcome:
            self._ended(self)


def _of(text: bytes, line: bytes) -> bytes:
    """``line`` as one of the call that ``text`` is, as far as that can be told."""
    try:
        number: Any = _numbers.decode(text).id
    except msgspec.MsgspecError:
        number = 0
    return wire.numbered(number, line)


def _unreadable(error: msgspec.MsgspecError) -> Rejected:
    return Rejected(
        f"the agent cannot read the call: {error}",
        "bring the master and the node to the same version of Gantry",
    )
