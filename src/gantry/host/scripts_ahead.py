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

FEW: Final = 8
"""Scripts for which it is not worth while to ask somebody else."""
LEAST: Final = 1.0
"""Seconds; who may take less is looked after closely."""
_GONE: Final = "the process that had started it was ended while it ran, and so it was"
_LOST: Final = "what it wrote was lost, as the process that had started it was ended soon after it"

Files: TypeAlias = tuple[Output, Output]
Attend: TypeAlias = Callable[[int, Program, Files, float], bool]
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
    """Of one sequence; ``first`` and ``scripts`` are those that are asked for at once."""

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

    def next_ones(self, scripts: Sequence[Script], first: int) -> dict[int, Script]:
        """Those from the first on, by number, that may be asked for now; none where few may."""
        if not (self._outputs.above and self._spawner.ready):
            return {}
        found = {}
        for number in range(first, len(scripts)):
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

    def run(
        self,
        scripts: Mapping[int, Script],
        variables: Mapping[int, list[bytes]],
        attend: Attend,
    ) -> Iterator[Ran]:
        """Run them, as far as it goes; each that has run. NotPossible as ``Exchange.tell``."""
        document, told = self._exchange.tell_later(scripts)
        order = Order(
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
            variables=dict(variables),
            files=self._outputs.above,
            notes=self._notes.path,
            document=document,
            deadline_at=DEADLINE_AT,
        )
        left = dict(scripts)
        try:
            for ran in self._ran(order, scripts, attend):
                del left[ran.number]
                yield ran
        except Lost:
            yield from self._after_all(left, order)

    def _ran(self, order: Order, scripts: Mapping[int, Script], attend: Attend) -> Iterator[Ran]:
        long: tuple[Files, bool] | None = None
        for event in self._spawner.run(order, self._stop):
            script = scripts[event.number]
            timeout = self._seconds(script)
            if isinstance(event, Long):
                files = Output(event.files[0]), Output(event.files[1])
                try:
                    by_itself = attend(event.number, event.program, files, timeout)
                finally:
                    os.close(event.program.pidfd)
                long = files, by_itself
                self._spawner.reap(self._stop, by_itself=by_itself)
                continue
            its, by_itself = long or (_files(event.files), True)
            long = None
            stopped = not by_itself and self._stop.wanted
            ended = _ended(event, by_itself=by_itself, stopped=stopped)
            yield Ran(script, event.number, None, its, ended, event.began, timeout)

    def _after_all(self, left: Mapping[int, Script], order: Order) -> Iterator[Ran]:
        """Those of which nobody has told us: some have notes, and the next one may have begun."""
        noted = self._notes.ended(left)
        for number, script in left.items():
            seconds = self._seconds(script)
            if number in noted:
                began, ended = noted[number]
                yield Ran(script, number, None, None, ended, began, seconds, _LOST)
                continue
            told = next(one.told for one in order.scripts if one.number == number)
            if told:
                process.end_orphans(orphans.marked([tuple(map(os.fsdecode, told))]))
            ended = Ended(problem=_GONE)
            yield Ran(script, number, None, None, ended, 0.0, seconds)
            return


def _files(descriptors: tuple[int, ...]) -> Files | None:
    if not descriptors:
        return None
    out, errors = descriptors
    return Output(out), Output(errors)


def _ended(event: End, *, by_itself: bool, stopped: bool) -> Ended:
    times = event.duration, event.user_time, event.system_time
    return process.of_code(event.code, *times, ended=by_itself, stopped=stopped)
