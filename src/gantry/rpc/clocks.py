"""What the master knows of its agents' clocks: from when orders are timed for them.

An agent says its clock's reading with its answers. What it said was true when it said it, which
was before it was heard: so a moment of ours, moved to the agent's clock by what is known here,
is never later than the real one, however long the answer was under way or waited to be read.
Clocks of machines run apart a little, so what is known ages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gantry.host.clock import boottime
from gantry.model.names import Uuid
from gantry.ports.agents import Moment

DRIFT: Final = 0.001
"""Seconds that two clocks may run apart in a second: twice what NTP may slew each of them by."""


class _Known:
    def __init__(self, clock: str, ahead: float, heard: float) -> None:
        self.clock = clock
        self.ahead = ahead
        """The agent's reading less ours, at most."""
        self.heard = heard

    def at(self, now: float) -> float:
        return self.ahead - (now - self.heard) * DRIFT


class Clocks:
    """The clocks of the agents that this master has announced itself to."""

    def __init__(self, now: Callable[[], float] = boottime) -> None:
        self._now = now
        self._known: dict[Uuid, _Known] = {}

    def announced(self, node: Uuid, moment: Moment) -> None:
        """The agent has taken the announcement and said its time, just now or earlier."""
        now = self._now()
        known = self._known.get(node)
        if known is None or known.clock != moment.clock:
            self._known[node] = _Known(moment.clock, moment.seconds - now, now)
        else:
            self._better(known, moment, now)

    def heard(self, node: Uuid, moment: Moment | None) -> None:
        """The agent said its time. With another clock than before it has to be announced to."""
        known = self._known.get(node)
        if known is None or moment is None:
            return
        if known.clock != moment.clock:
            self.forget(node)
        else:
            self._better(known, moment, self._now())

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

    @staticmethod
    def _better(known: _Known, moment: Moment, now: float) -> None:
        ahead = moment.seconds - now
        if ahead > known.at(now):
            known.ahead, known.heard = ahead, now
