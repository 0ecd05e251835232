"""Short scripts of a sequence that another process starts for us (``spawner``).

Only those of which nothing need be known between two of them: what they are is known already,
they run as ourselves, and there are many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from gantry.host import orphans, process
from gantry.host.digests import known
from gantry.host.hook_exchange import DEADLINE_AT, Exchange
from gantry.host.listing import Script
from gantry.host.outputs import Output, Outputs
from gantry.host.process import Ended, Program, Stop
from gantry.host.script_results import Ran
from gantry.host.spawner import End, Long, Lost, Order, Spawner, Wanted
from gantry.host.spawner_program import FEW

MOST: Final = 512
"""Scripts that are asked for together: what is known of them is in memory three times."""
LEAST: Final = 1.0
"""Seconds; who may take less is looked after closely."""
_GONE: Final = "the process that had started it was ended while it ran, and so it was"
_TOO_MANY: Final = "what it wrote was lost: too many open files"
_LOST: Final = "what it wrote was lost, as the process that had started it was ended soon after it"

Files: TypeAlias = tuple[Output, Output]
Attend: TypeAlias = Callable[[int, Program, Files | None, float], bool]
"""Look after a script that takes long until it has ended: its number, it, its files, the seconds
that it may take; whether it ended by itself."""


class Notes(Protocol):
    """Where it is noted how each script ended, before the next one begins."""

    @property
    def path(self) -> str:
        """The file."""

    def beginning(self, number: int, script: Script) -> bytes:
        """What a script's note begins with; number as in the sequence."""

    def ended(self, numbers: Mapping[int, Script]) -> dict[int, tuple[float, Ended]]:
        """When those that have a note began, and how they ended."""


class Ahead:
    """Of one sequence. What is the same for all of its orders is given first."""

    def __init__(
        self,
        spawner: Spawner,
        notes: Notes,
        outputs: Outputs,
        exchange: Exchange,
        timeout: float | None,
        stop: Stop,
    ) -> None:
        self.identity = spawner.identity
        """The process that starts them. If we are killed it goes too, some time later."""
        self._spawner = spawner
        self._notes = notes
        self._outputs = outputs
        self._exchange = exchange
        self._timeout = timeout
        self._stop = stop
        self._pause = self._not_before = 0
        self._long: tuple[int, Files | None, bool] | None = None
        """Of a script that takes long what it writes to, and whether it ended by itself."""

    def next_ones(self, scripts: Sequence[Script], first: int) -> dict[int, Script]:
        """Those from the first on, by number, that may be asked for now; none where few may."""
        if first < self._not_before or not (self._outputs.above and self._spawner.ready):
            return {}
        found = {}
        for number in range(first, min(len(scripts), first + MOST)):
            script = scripts[number]
            if script.skip or script.problem or not self._may(script):
                break
            found[number] = script
        return found if len(found) >= FEW else {}

    def _may(self, script: Script) -> bool:
        short = self._seconds(script) < LEAST
        return not (script.run_as or short or script.file is None) and known(script.file)

    def _seconds(self, script: Script) -> float:
        return script.timeout if self._timeout is None else self._timeout

    def order(self, scripts: Mapping[int, Script], variables: Mapping[int, list[bytes]]) -> Order:
        """What is asked; NotPossible as ``Exchange.tell``."""
        document, told = self._exchange.tell_later(scripts)
        return Order(
            scripts=[
                Wanted(
                    number,
                    script.path,
                    script.version,
                    self._seconds(script),
                    its,
                    self._notes.beginning(number, script),
                )
                for (number, script), its in zip(scripts.items(), told, strict=True)
            ],
            # One value each: hundreds of small ones take longer to be packed than to be split.
            variables={version: b"\0".join(its) for version, its in variables.items()},
            files=self._outputs.above,
            notes=self._notes.path,
            document=document,
            deadline_at=DEADLINE_AT,
        )

    def run(self, order: Order, scripts: Mapping[int, Script], attend: Attend) -> Iterator[Ran]:
        """Run them, as far as it goes; each that has run."""
        left = dict(scripts)
        try:
            for ran in self._ran(order, scripts, attend):
                del left[ran.number]
                yield ran
        except Lost:
            yield from self._after_all(left, order)
        finally:
            if self._long is not None:
                for output in self._long[1] or ():
                    os.close(output.descriptor)
                self._long = None
        # Where many cannot be begun it is not asked in vain for each.
        few = len(scripts) - len(left) < FEW
        self._pause = max(FEW, 2 * self._pause) if few else 0
        self._not_before = min(left, default=0) + self._pause if few else 0

    def _looked_after(self, number: int) -> tuple[Files | None, bool]:
        """Of a script, if it took long, its files, which are the caller's now; see ``_long``."""
        if self._long is None or self._long[0] != number:
            return None, True
        (_, files, by_itself), self._long = self._long, None
        return files, by_itself

    def _ran(self, order: Order, scripts: Mapping[int, Script], attend: Attend) -> Iterator[Ran]:
        for event in self._spawner.run(order, self._stop):
            script = scripts[event.number]
            timeout = self._seconds(script)
            if isinstance(event, Long):
                files = _files(event.files)
                self._long = event.number, files, False
                try:
                    by_itself = attend(event.number, event.program, files, timeout)
                finally:
                    os.close(event.program.pidfd)
                self._long = event.number, files, by_itself
                self._spawner.reap(self._stop, by_itself=by_itself)
                continue
            took_long = self._long is not None
            its, by_itself = self._looked_after(event.number)
            its = its or _files(event.files)
            stopped = not by_itself and self._stop.wanted
            ended = _ended(event, by_itself=by_itself, stopped=stopped)
            warning = _TOO_MANY if event.lost or (took_long and its is None) else ""
            yield Ran(script, event.number, None, its, ended, event.began, timeout, warning)

    def _after_all(self, left: Mapping[int, Script], order: Order) -> Iterator[Ran]:
        """Those of which nobody has told us: some have notes, and the next one may have begun."""
        noted = self._notes.ended(left)
        for number, script in left.items():
            seconds = self._seconds(script)
            its, _ = self._looked_after(number)
            if number in noted:
                began, ended = noted[number]
                warning = "" if its else _LOST
                yield Ran(script, number, None, its, ended, began, seconds, warning)
                continue
            told = next(one.told for one in order.scripts if one.number == number)
            if told:
                process.end_orphans(orphans.marked([tuple(map(os.fsdecode, told))]))
            ended = Ended(problem=_GONE)
            yield Ran(script, number, None, its, ended, 0.0, seconds)
            return


def _files(descriptors: tuple[int, ...]) -> Files | None:
    if not descriptors:
        return None
    out, errors = descriptors
    return Output(out), Output(errors)


def _ended(event: End, *, by_itself: bool, stopped: bool) -> Ended:
    times = event.duration, event.user_time, event.system_time
    return process.of_code(event.code, *times, ended=by_itself, stopped=stopped)
