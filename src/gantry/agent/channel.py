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
        self._following: set[asyncio.Task[None]] = set()

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
            for task in self._following:
                task.cancel()
            await self._outbox.close()
        return self._socket

    async def close(self) -> None:
        """Let the last answers go out, and end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await asyncio.gather(*self._following)
                if self._outbox is not None:
                    await self._outbox.drained()
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    def _take(self, data: bytes, outbox: Outbox) -> None:
        """One frame: the calls in it, in their order."""
        for text in data.splitlines():
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
        # Listening begins before the effect's first step, so that no line is missed.
        lines = effect.listen()
        task = asyncio.get_running_loop().create_task(_lines(number, effect, lines, outbox))
        self._following.add(task)
        task.add_done_callback(self._following.discard)


async def _lines(number: int, effect: Effect, lines: asyncio.Queue[bytes], outbox: Outbox) -> None:
    """All lines of an effect up to its outcome."""
    try:
        while True:
            line = await next_line(lines, timeouts.EVENT_HEARTBEAT)
            outbox.put(wire.numbered(number, line))
            if line is effect.outcome:
                return
    finally:
        effect.silence(lines)


async def next_line(lines: asyncio.Queue[bytes], patience: float) -> bytes:
    """The next line, or a sign of life."""
    try:
        async with asyncio.timeout(patience):
            return await lines.get()
    except TimeoutError:
        return wire.ALIVE


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
