"""Sending one order of a job to an agent, with the one retry; journals nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.model import timeouts
from gantry.model.errors import GantryError, Stopping, Superseded, TooLate, Unavailable
from gantry.model.jobs import LogKind
from gantry.model.names import JobId, Uuid
from gantry.model.orders import HooksRan, Order
from gantry.ports.agents import Address, Progress

A = TypeVar("A", bound=msgspec.Struct)
logger = logging.getLogger(__name__)


async def issue(
    context: Context,
    entry: Entry,
    to: Address,
    key: str,
    order: Order[A],
    *,
    timeout: float,
    secrets: dict[str, str] | None = None,
    op: int = 0,
    undo: bool = False,
) -> A:
    """Carry out ``order`` under ``key``; an agent that went away is asked once more.

    An ``undo`` is nothing that a cancel of the job could end. Raises the agent's own error, or
    Unavailable: then it may or may not have happened.
    """

    def progress(line: Progress) -> None:
        say(context, entry, line.text, LogKind.PROGRESS, op)

    def order_it(left: float) -> Awaitable[A]:
        envelope = context.envelope(key, entry.id, left, secrets)
        return _within(left, context.agents.order(to, envelope, order, progress), to)

    if not undo:
        entry.orders[key] = to
    touched = True
    try:
        answer = await _patiently(
            context,
            order_it,
            timeout,
            lambda: entry.cancel_wanted and not undo,
            order.patience,
        )
        # An agent remembers nothing of a phase in which no script ran.
        touched = not isinstance(answer, HooksRan) or answer.ran
        return answer
    except Superseded as error:
        raise context.journal.superseded(error) from error
    finally:
        entry.orders.pop(key, None)
        if touched:
            entry.touched[to.node] = to


async def _patiently(
    context: Context,
    order_it: Callable[[float], Awaitable[A]],
    timeout: float,
    given_up: Callable[[], bool],
    patience: float,
) -> A:
    """Give the order; again after it came too late, while its agent is being restarted, and once
    more after it went away, or for ``patience`` seconds.
    """
    began = context.clock.monotonic()
    again, left, lost = False, timeout, None
    while True:
        try:
            return await order_it(left)
        except Unavailable as error:
            # An order that waited on the node for longer than a lease has not failed: it is
            # given again for as long as this is the master.
            away = not isinstance(error, (TooLate, Stopping))
            now = context.clock.monotonic()
            left = timeout - (now - began) - timeouts.RECONNECT
            lost = now if lost is None and away else lost
            patient = lost is not None and now - lost < patience
            if left <= 0 or (again and away and not patient) or given_up():
                raise
            again = again or away
        await context.clock.sleep(timeouts.RECONNECT)


async def alone(context: Context, node: Uuid, order: Order[A], timeout: float) -> A:
    """An order of no job, under a random key, which its agent need not remember."""
    to, key = context.address(node), context.clock.random_bytes(12).hex()
    envelope = context.envelope(f"{key}/order", JobId(0), timeout)
    try:
        return await _within(timeout, context.agents.order(to, envelope, order), to)
    except Superseded as error:
        raise context.journal.superseded(error) from error
    finally:
        forget_all(context, to, f"{key}/")


async def cancel(context: Context, entry: Entry, to: Address, key: str) -> None:
    """End what may be running under ``key``; a node that gives no proper answer cannot be told.

    One that does remembers that the key was cancelled, even where it never had such an order.
    """
    try:
        async with asyncio.timeout(timeouts.URGENT):
            await context.agents.cancel(to, key, context.epoch)
    except Superseded as error:
        raise context.journal.superseded(error) from error
    except (Unavailable, TimeoutError):
        return
    except GantryError as error:
        # Also where it answers nonsense: what the job has done is undone all the same.
        logger.warning("job %s, %s: %s", entry.id, key, error)
    finally:
        entry.touched[to.node] = to


def forget(context: Context, entry: Entry) -> None:
    """The job is over: its agents need not remember it. One that does not answer forgets later."""
    nodes, entry.touched = list(entry.touched.values()), {}
    for to in nodes:
        forget_all(context, to, f"{entry.job.uid}/")


def forget_all(context: Context, to: Address, prefix: str) -> None:
    """That agent need not remember effects any more whose keys begin with ``prefix``."""
    pending = context.over.get(to)
    if pending is not None:
        pending.append(prefix)
    else:
        context.over[to] = [prefix]
        context.background.start(_forget(context, to))


async def _forget(context: Context, to: Address) -> None:
    """Tell one agent, until nothing came meanwhile: under load many jobs share a call."""
    try:
        while prefixes := context.over[to]:
            context.over[to] = []
            async with asyncio.timeout(timeouts.URGENT):
                await context.agents.forget(to, prefixes, context.epoch)
    except (GantryError, TimeoutError):
        return
    finally:
        del context.over[to]


def say(context: Context, entry: Entry, text: str, kind: LogKind, op: int) -> None:
    """Lines for the job's log."""
    if entry.log is not None:
        for line in text.splitlines() or [""]:
            entry.log.add(context.clock.now(), line, kind, op)


async def _within(timeout: float, work: Awaitable[A], to: Address) -> A:
    # The agent keeps the limit itself; this one is for an agent that does not.
    try:
        async with asyncio.timeout(timeout + timeouts.CONNECT):
            return await work
    except TimeoutError:
        raise Unavailable(
            f"node {to.name} did not answer within {timeout:g} seconds",
            "see the agent's log on the node",
            node=to.name,
        ) from None
