"""One watch: opened again wherever it broke off, so that it has no gap.

It is asked from the revision *before* the first wanted one, whose events are dropped: etcd
then says "compacted" exactly where the port wants it, and not one revision later.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import aiohttp
import msgspec

from gantry.model import timeouts
from gantry.ports.store import Compacted, Event, StoreUnavailable
from gantry.store.etcd import problems, wire
from gantry.store.etcd.gateway import Gateway
from gantry.store.etcd.problems import Fault, Kind, Refused

_DENIED: Final = "permission denied"

Transaction = tuple[Event, ...]


class Watcher:
    """Where one watch is; ``after`` grows with what was seen."""

    def __init__(
        self,
        gateway: Gateway,
        closed: asyncio.Event,
        keys: tuple[bytes, bytes],
        after: int,
    ) -> None:
        """``keys`` are the prefix of all keys, and that of the watched ones."""
        self._gateway = gateway
        self._closed = closed
        self._prefix, self._watched = keys
        self._after = after

    async def transactions(self) -> AsyncGenerator[Transaction, None]:
        """See the port."""
        failing = _Failing(self._gateway)
        while True:
            if self._closed.is_set():
                raise StoreUnavailable("the store is closed")
            try:
                async with contextlib.aclosing(self._once(failing)) as found:
                    async for transaction in found:
                        yield transaction
            except Refused as refused:
                if refused.kind is not Kind.TOKEN or not self._gateway.forget_login():
                    raise StoreUnavailable(f"etcd refuses a watch: {refused.message}") from None
                await failing.again(Fault(refused.message), self._closed)
            except Fault as fault:
                await failing.again(fault, self._closed)

    async def _once(self, failing: _Failing) -> AsyncGenerator[Transaction, None]:
        """Those of one connection; ends where it should be opened anew."""
        request = wire.WatchRequest(
            wire.WatchCreate(
                self._watched,
                wire.end_of(self._watched),
                max(1, self._after),
                fragment=True,
                progress_notify=True,
            )
        )
        pieces: list[wire.WatchEvent] = []
        async with self._gateway.stream(wire.WATCH, request) as (endpoint, content):
            failing.endpoint = endpoint
            async with contextlib.aclosing(self._answers(endpoint, content)) as answers:
                async for answer in answers:
                    self._check(answer)
                    failing.came()
                    pieces += answer.events
                    if answer.fragment:
                        continue
                    for transaction in self._grouped(pieces):
                        yield transaction
                    pieces.clear()
                    if not answer.created and not answer.events:
                        self._after = max(self._after, answer.header.revision)

    def _grouped(self, events: list[wire.WatchEvent]) -> list[Transaction]:
        found = []
        for revision, group in itertools.groupby(events, lambda event: event.kv.mod_revision):
            if revision > self._after:
                self._after = revision
                found.append(tuple(self._event(each) for each in group))
        return found

    def _event(self, each: wire.WatchEvent) -> Event:
        key = each.kv.key[len(self._prefix) :].decode()
        return Event(key, None if each.type == "DELETE" else each.kv.value, each.kv.mod_revision)

    async def _answers(
        self, endpoint: str, content: aiohttp.StreamReader
    ) -> AsyncGenerator[wire.WatchAnswer, None]:
        """What the member says; when it is silent, it is asked whether it still lives."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeouts.STORE_WATCH
        lines = _lines(content)
        closed = loop.create_task(self._closed.wait())
        reading = loop.create_task(_first(lines))
        try:
            while loop.time() < ends:
                await asyncio.wait(
                    [reading, closed],
                    timeout=timeouts.STORE_SILENCE,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._closed.is_set():
                    return
                if not reading.done():
                    found = await self._gateway.ask(
                        endpoint, wire.RANGE, wire.RangeRequest(self._watched), wire.RangeAnswer
                    )
                    if 0 < found.header.revision < self._after:
                        # etcd was set back to an older copy: it would be silent for long.
                        raise Compacted(found.header.revision)
                    continue
                line = reading.result()
                if line is None:
                    raise Fault("it ended a watch")
                yield _said(line)
                ends = loop.time() + timeouts.STORE_WATCH
                reading = loop.create_task(_first(lines))
        finally:
            closed.cancel()
            reading.cancel()
            await asyncio.wait([closed, reading])
            if not reading.cancelled():
                # It is the connection's end, which somebody else hears of.
                reading.exception()

    def _check(self, answer: wire.WatchAnswer) -> None:
        if answer.compact_revision:
            raise Compacted(answer.compact_revision)
        if not answer.canceled:
            return
        if _DENIED in answer.cancel_reason:
            # So it also calls a login that is over.
            if self._gateway.forget_login():
                raise Fault(answer.cancel_reason)
            raise problems.of_problem(7, answer.cancel_reason)
        raise Fault(answer.cancel_reason or "it cancelled a watch")


class _Failing:
    """For how long a watch has had no answer, and from whom."""

    def __init__(self, gateway: Gateway) -> None:
        self.endpoint = ""
        self._gateway = gateway
        self._faults: dict[str, Fault] = {}
        self._since: float | None = None
        self._rounds = 0

    def came(self) -> None:
        """An answer."""
        self._since = None
        self._rounds = 0
        self._faults.clear()

    async def again(self, fault: Fault, closed: asyncio.Event) -> None:
        """Wait before the next try; raises StoreUnavailable where that has no sense any more."""
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint or self._gateway.endpoints[0]
        self._faults[endpoint] = fault
        self._since = self._since or loop.time()
        self._gateway.avoid(endpoint)
        if loop.time() - self._since > self._gateway.patience.whole:
            raise problems.unavailable(self._faults, self._gateway.patience.whole)
        pause = timeouts.STORE_PAUSES[min(self._rounds, len(timeouts.STORE_PAUSES) - 1)]
        self._rounds += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await closed.wait()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; an end in mid-line is no line."""
    parts: list[bytes] = []
    async for piece in content.iter_any():
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield b"".join((*parts, line))
            parts.clear()
        parts.append(rest)


async def _first(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)


def _said(line: bytes) -> wire.WatchAnswer:
    try:
        said = wire.decode(line, wire.WatchLine)
    except msgspec.MsgspecError as error:
        raise Fault(f"it does not answer as etcd does ({error})") from error
    if said.error is not None:
        raise problems.of_problem(said.error.grpc_code or said.error.code, said.error.message)
    return said.result or wire.WatchAnswer()
