"""What hook scripts do, as events: a phase begins on a node, each script's result, its end.

Made of the orders that go to agents and of their answers, so a phase says the same whoever began
it. Where no script would run, which is most often so, nothing is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

from gantry.model.errors import GantryError, Stopping, Unavailable
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus

Event: TypeAlias = dict[str, Any]
A = TypeVar("A")

KEPT: Final = 2000
"""Events that a slow reader may be behind; then it is told how many it missed."""
_SOON: Final = 0.05
"""Seconds after which a phase that still runs is told to have begun."""
_LONGEST: Final = 500
"""Characters of a problem."""


class HookPoints:
    """The latest events, numbered from 1; readers ask for those after the last that they had."""

    def __init__(self, rang: Callable[[], None] = lambda: None) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._rang = rang
        self.last = 0
        """The number of the latest one."""

    def add(self, event: Event) -> None:
        """One more."""
        self._events.append(event)
        self.last += 1
        self._rang()

    def after(self, number: int) -> list[Event]:
        """Those after ``number``; first, where some are gone already, how many."""
        wanted = self.last - number
        found = list(self._events)[-wanted:] if wanted else []
        missed = wanted - len(found)
        return [*([{"event": "missed", "count": missed}] if missed else []), *found]


async def observed(points: HookPoints, node: str, order: HooksRun, answer: Awaitable[A]) -> A:
    """The answer of ``order``, and beside it the events of what happened on ``node``."""
    about = _about(node, order)
    begun = _Begun(points, about)
    timer = asyncio.get_running_loop().call_later(_SOON, begun.tell)
    try:
        found = await answer
    except Stopping:
        # The order is given again, to the agent that comes after this one.
        raise
    except Unavailable as error:
        points.add({**about, "state": "unreachable", "problem": error.message[:_LONGEST]})
        raise
    except GantryError as error:
        points.add({**about, "state": "refused", "problem": error.message[:_LONGEST]})
        raise
    finally:
        timer.cancel()
    results = found.results if isinstance(found, HooksRan) else ()
    ran = [one for one in results if one.status is not ScriptStatus.SKIPPED]
    if ran:
        begun.tell()
        for one in ran:
            points.add(_script(about, one))
    if ran or begun.told:
        failed = sum(one.status is ScriptStatus.FAILED for one in ran)
        denied = failed and about["phase"] == "pre"
        state = "denied" if denied else "failed" if failed else "succeeded"
        points.add({**about, "state": state, "scripts": len(ran), "failed": failed})
    return found


class _Begun:
    """That it began is told once."""

    def __init__(self, points: HookPoints, about: Event) -> None:
        self._points = points
        self._about = about
        self.told = False

    def tell(self) -> None:
        if not self.told:
            self.told = True
            self._points.add({**self._about, "state": "begun"})


def _about(node: str, order: HooksRun) -> Event:
    directory = order.directories[0].name if order.directories else ""
    operation, _, phase = directory.removesuffix(".d").rpartition("-")
    environment = next(iter(order.environments.values()), {})
    return {
        "event": "hooks",
        "operation": operation,
        "code": environment.get("GANETI_OP_CODE", ""),
        "phase": phase,
        "job": order.job,
        "attempt": order.attempt,
        "run_id": order.run_id,
        "dry_run": order.dry_run,
        "target": environment.get("GANETI_OP_TARGET"),
        "node": node,
    }


def _script(about: Event, one: ScriptResult) -> Event:
    """Without its output, which may be long: the run's record has it."""
    return {
        **about,
        "event": "hook-script",
        "directory": one.directory,
        "script": one.script,
        "state": one.status.value,
        "exit_status": one.exit_status,
        "signal": one.signal,
        "problem": one.problem[:_LONGEST],
        "started": one.started,
        "duration": one.duration,
    }
