"""The stream of a node's events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope, guest, start, stop

from gantry.model.errors import Unavailable
from gantry.model.live import GuestState
from gantry.model.orders import GuestForget
from gantry.ports.agents import Event, GuestChanged, Heartbeat, Hello


async def next_of(
    events: AsyncIterator[Event], wanted: Callable[[Event], bool], within: float = 10.0
) -> Event:
    async with asyncio.timeout(within):
        async for event in events:
            if wanted(event):
                return event
    raise AssertionError("the stream ended")


@contextlib.asynccontextmanager
async def stream(harness: Harness) -> AsyncIterator[AsyncIterator[Event]]:
    events = harness.agents.events(harness.address)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # every implementation is a generator


async def test_the_streams_of_an_older_master_end_when_a_newer_one_comes(
    harness: Harness,
) -> None:
    await harness.agents.announce(harness.address, 3)
    async with stream(harness) as events:
        assert isinstance(await anext(events), Hello)
        await harness.agents.announce(harness.address, 3)
        await harness.another_master().announce(harness.address, 4)
        with pytest.raises(Unavailable):
            await next_of(events, lambda event: isinstance(event, Hello))


async def test_a_stream_begins_with_all_that_the_agent_knows(harness: Harness) -> None:
    spec = guest()
    await harness.agents.order(harness.address, envelope("j/1"), start(spec))
    async with stream(harness) as events:
        first = await anext(events)
        assert isinstance(first, Hello)
        assert [live.uuid for live in first.guests] == [spec.uuid]
        assert first.facts.memory_total > 0


async def test_guests_that_start_stop_and_are_forgotten_are_told(harness: Harness) -> None:
    spec = guest()
    async with stream(harness) as events:
        await anext(events)
        await harness.agents.order(harness.address, envelope("j/1"), start(spec))
        up = await next_of(events, lambda event: isinstance(event, GuestChanged))
        assert isinstance(up, GuestChanged)
        assert up.guest.state is GuestState.RUNNING
        await harness.agents.order(harness.address, envelope("j/2"), stop(spec))
        down = await next_of(events, lambda event: isinstance(event, GuestChanged))
        assert isinstance(down, GuestChanged)
        assert down.guest.state is GuestState.STOPPED
        forget = GuestForget(uuid=spec.uuid, hypervisor="fake")
        await harness.agents.order(harness.address, envelope("j/3"), forget)
        gone = await next_of(
            events, lambda event: isinstance(event, GuestChanged) and event.forgotten
        )
        assert isinstance(gone, GuestChanged)
        assert gone.guest.uuid == spec.uuid


async def test_a_guest_that_dies_is_told(harness: Harness) -> None:
    spec = guest("mortal.example.com")
    harness.let_die(spec.name)
    async with stream(harness) as events:
        await anext(events)
        await harness.agents.order(harness.address, envelope("j/1"), start(spec))
        died = await next_of(
            events,
            lambda event: isinstance(event, GuestChanged) and not event.guest.up,
        )
        assert isinstance(died, GuestChanged)
        assert died.guest.state is GuestState.DIED


async def test_several_streams_are_told_the_same(harness: Harness) -> None:
    spec = guest()
    async with stream(harness) as one, stream(harness) as other:
        await anext(one)
        await anext(other)
        await harness.agents.order(harness.address, envelope("j/1"), start(spec))
        told = [
            await next_of(events, lambda event: isinstance(event, GuestChanged))
            for events in (one, other)
        ]
        assert told[0] == told[1]


async def test_a_silent_stream_has_heartbeats(harness: Harness) -> None:
    async with stream(harness) as events:
        await anext(events)
        beat = await next_of(events, lambda event: isinstance(event, Heartbeat))
        assert isinstance(beat, Heartbeat)


async def test_a_stream_ends_as_unavailable_when_the_agent_goes_away(harness: Harness) -> None:
    async with stream(harness) as events:
        await anext(events)
        await harness.disconnect()
        with pytest.raises(Unavailable) as caught:
            await next_of(events, lambda event: False)
        assert caught.value.node == "node1"
