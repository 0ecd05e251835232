"""What the master knows of its agents' clocks: from when orders are timed for them.

An agent says its clock's reading with its answers. What it said was true when it said it, which
was before it was heard: so a moment of ours, moved to the agent's clock by what is known here,
is never later than the real one, however long the answer was under way or waited to be read.
Clocks of machines run apart a little, so what is known ages. The clock of a virtual machine that
is paused stands still, and what it said before is wrong from then on: so only what was heard in
the last seconds counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gantry.host.clock import boottime
from gantry.model.names import Uuid
from gantry.ports.agents import Moment

DRIFT: Final = 0.001
"""Seconds that two clocks may run apart in a second: twice what NTP may slew each of them by."""


WINDOW: Final = 30.0
"""Seconds for which the best of what was heard counts; the last that was heard always does."""


class _Known:
    """What one agent's clock said: how far it is ahead of ours, at most, and when that was."""

    def __init__(self, clock: str) -> None:
        self.clock = clock
        self._heard: deque[tuple[float, float]] = deque()
        """Only what no later word has bettered: so the oldest is the best."""

    def hear(self, ahead: float, now: float) -> None:
        """Something that was heard just now."""
        while self._heard and _aged(*self._heard[-1], now) <= ahead:
            self._heard.pop()
        self._heard.append((ahead, now))

    def at(self, now: float) -> float:
        """The clock's reading less ours, at most."""
        while len(self._heard) > 1 and now - self._heard[0][1] > WINDOW:
            self._heard.popleft()
        return _aged(*self._heard[0], now)


def _aged(ahead: float, heard: float, now: float) -> float:
    return ahead - (now - heard) * DRIFT


class Clocks:
    """The clocks of the agents that this master has announced itself to."""

    def __init__(self, now: Callable[[], float] = boottime) -> None:
        self._now = now
        self._known: dict[Uuid, _Known] = {}

    def announced(self, node: Uuid, moment: Moment) -> None:
        """The agent has taken the announcement and said its time, just now or earlier."""
        known = self._known.get(node)
        if known is None or known.clock != moment.clock:
            known = self._known[node] = _Known(moment.clock)
        now = self._now()
        known.hear(moment.seconds - now, now)

    def heard(self, node: Uuid, moment: Moment | None) -> None:
        """The agent said its time. With another clock than before it has to be announced to."""
        known = self._known.get(node)
        if known is None or moment is None:
            return
        if known.clock != moment.clock:
            self.forget(node)
        else:
            now = self._now()
            known.hear(moment.seconds - now, now)

    def forget(self, node: Uuid) -> None:
        """The node has to be announced to before it is given an order."""
        self._known.pop(node, None)

    def knows(self, node: Uuid) -> bool:
        """Whether orders for it can be timed."""
        return node in self._known

    def until(self, node: Uuid, moment: float) -> Moment:
        """A moment of our clock on that of the node, or a little earlier; KeyError if unknown."""
        known = self._known[node]
        return Moment(known.clock, moment + known.at(self._now()))
