"""A phase's hook scripts on this node, run one after the other.

What they are told and what their results mean is decided elsewhere (``gantry.hooks``), which
of them run in ``listing``. The rules here are those of the hook interface, sections 2.3 to 2.5.

A script takes less than a millisecond, and so does what is to be done about it. So what short
scripts left is looked at for several of them together, while a later one runs: done for each
alone, between two programs that push it out of the processor's caches, it takes three times as
long.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from gantry.host import accounts, process
from gantry.host.accounts import Account, NotPossible
from gantry.host.command import in_thread
from gantry.host.daemon import Identity, identity
from gantry.host.hook_exchange import CONTEXT, VERDICT, Exchange
from gantry.host.listing import Script as Script
from gantry.host.listing import listing as listing
from gantry.host.listing import look, planned
from gantry.host.listing import runnable as runnable
from gantry.host.outputs import Output, Outputs
from gantry.host.process import Ended, Stop
from gantry.host.script_results import Ran, Results, failed
from gantry.host.script_results import skipped as skipped
from gantry.host.short_turns import Turn
from gantry.host.short_waits import AFTER, ShortWaits
from gantry.host.spawner_program import FEW
from gantry.host.starter import Starter, variables_of
from gantry.model.orders import HooksRan, HooksRun, ScriptResult

if TYPE_CHECKING:
    from gantry.host.scripts_ahead import Ahead, Notes

_log = logging.getLogger(__name__)

_NOTED: Final = AFTER
"""Seconds after which a process is noted down. Until then its environment tells whose it is,
and noting each of them would cost a tenth of a small script's time."""
_LONG: Final = 1.0
_SEVERAL: Final = 2
"""Scripts for which it is worth while to see how they are started best."""
_TOGETHER: Final = 8
"""Short scripts whose results are made together, at most: more take longer than one script runs."""
_FAR_TOGETHER: Final = 64
"""The same where another process starts them, which is not held up."""


class How(TypedDict, total=False):
    """What ``run_sequence`` may be told besides; see there."""

    timeout: float | None
    on_started: Callable[[Identity], None] | None
    on_starter: Callable[[Identity], None] | None
    on_brief: Callable[[int, Script, float, Ended], None] | None
    notes: Notes | None
    on_results: Callable[[Sequence[ScriptResult], bool], None] | None
    outputs: Path | None
    exchange: Path | None
    done: Mapping[tuple[str, str], ScriptResult]


async def run_hooks(
    base: Path, order: HooksRun, extra: Mapping[str, str], **how: Unpack[How]
) -> HooksRan:
    """``run_sequence`` in a thread; a cancellation ends it."""
    stop = Stop()

    def run() -> HooksRan:
        with Turn() as turn:
            return run_sequence(base, order, extra, stop, turn, **how)

    return await in_thread(stop, run)


def run_sequence(
    base: Path,
    order: HooksRun,
    extra: Mapping[str, str],
    stop: Stop,
    turn: Turn,
    **how: Unpack[How],
) -> HooksRan:
    """Run the scripts of all the order's directories below ``base``, in one sequence. Blocking.

    ``extra`` is added to each environment (``GANTRY_…``). Each script may take ``timeout``
    seconds, or where that is None what the policy says. ``on_started`` is told each process
    that does not end at once, ``on_results`` all results in their order, and whether these are
    the last.
    With ``on_brief`` those of short scripts are told several at a time; of each that ended by
    itself it is told before the next one begins: its number in the sequence, when it began, and
    how it ended. Where there are ``notes`` too, another process may start scripts and make these
    instead; ``on_starter`` is told which.
    ``outputs`` is a directory that keeps what scripts write, ``exchange`` one in which context
    and verdicts are for the time of the run. ``done`` are results by directory and script of
    scripts that are not run again: they are told in their place. ``stop`` ends the running
    script's process group; no other is started then. ``turn`` is the caller's, who has it.
    """
    name = "-".join((order.run_id, *(one.name for one in order.directories)))
    with (
        Outputs(how.get("outputs")) as files,
        Exchange(how.get("exchange"), name, bytes(order.context)) as place,
        Starter() as starter,
        ShortWaits(stop) as waits,
    ):
        run = _Run(order, extra, files, place, starter, waits, stop, turn, how)
        scripts = planned(base, order)
        return HooksRan(results=tuple(run.all(scripts, how.get("timeout"), how.get("done", {}))))


class _Run:
    """One sequence of scripts."""

    def __init__(
        self,
        order: HooksRun,
        extra: Mapping[str, str],
        outputs: Outputs,
        exchange: Exchange,
        starter: Starter,
        waits: ShortWaits,
        stop: Stop,
        turn: Turn,
        how: How,
    ) -> None:
        self._environments = order.environments
        self._extra = {**order.extra, **extra}
        self._variables: dict[int, list[bytes]] = {}
        """By version: what is the same for all scripts need not be encoded for each."""
        self._outputs = outputs
        self._exchange = exchange
        self._starter = starter
        self._on_started = how.get("on_started")
        self._on_brief = how.get("on_brief")
        self._on_starter = how.get("on_starter")
        self._notes = how.get("notes")
        self._on_results = how.get("on_results")
        self._stop = stop
        self._make = Results(outputs, exchange)
        self._turn = turn
        self._waits = waits
        self._program: process.Program | None = None
        self._files: tuple[Output, Output] | None = None
        self._number = 0
        self._last = 0
        """The number of the last one."""
        self._script: Script | None = None
        """The one that runs, if it is to be looked at."""
        self._waiting: list[Ran | ScriptResult] = []
        """What nobody has been told of yet."""
        self._due = False
        """Whether the last of them is to be looked at while the next one runs."""
        self._results: list[ScriptResult] = []

    def all(
        self,
        scripts: list[Script],
        timeout: float | None,
        done: Mapping[tuple[str, str], ScriptResult],
    ) -> list[ScriptResult]:
        """Every result, in the order of the run."""
        if len(scripts) >= _SEVERAL:
            self._starter.many()
        self._last = len(scripts) - 1
        many = len(scripts) if self._notes is not None and not done else 0
        with contextlib.ExitStack() as lent:
            ahead = self._ahead(many, timeout, lent) if many >= FEW else None
            number = 0
            while number < len(scripts) and not self._stop.wanted:
                number = self._some(scripts, number, ahead) if ahead is not None else number
                if number < len(scripts) and not self._stop.wanted:
                    self._next(scripts[number], number, timeout, done)
                    number += 1
        self._settle(last=True)
        return self._results

    def _next(
        self,
        script: Script,
        number: int,
        timeout: float | None,
        done: Mapping[tuple[str, str], ScriptResult],
    ) -> None:
        if done and not script.problem and (script.directory, script.name) in done:
            self._settle()
            self._waiting.append(self._make.again(done[script.directory, script.name]))
        elif script.skip or script.problem:
            self._waiting.append(skipped(script, script.skip) if script.skip else failed(script))
        else:
            self._turn.go_on()
            if self._stop.wanted:
                return  # while it waited for its turn
            self._run(script, number, script.timeout if timeout is None else timeout)

    def _ahead(
        self, scripts: int, timeout: float | None, lent: contextlib.ExitStack
    ) -> Ahead | None:
        # Most nodes never have so many: an agent need not have it in memory.
        from gantry.host.scripts_ahead import Ahead
        from gantry.host.spawner import Borrowed

        # Only who has a turn asks for it: nobody who waits for one keeps it from others.
        spawner = lent.enter_context(Borrowed(scripts)).spawner
        if spawner is None or self._notes is None:
            return None
        parts = self._notes, self._outputs, self._exchange, timeout, self._stop
        return Ahead(spawner, *parts)

    def _some(self, scripts: Sequence[Script], first: int, ahead: Ahead) -> int:
        """Have somebody else start as many as may be, from that on; the first that is left."""
        wanted = ahead.next_ones(scripts, first)
        if not wanted:
            return first
        try:
            versions = {script.version for script in wanted.values()}
            order = ahead.order(wanted, {one: self._variables_for(one) for one in versions})
        except (NotPossible, ValueError):
            return first  # whoever runs it says so of each
        self._settle()
        if self._on_starter is not None:
            self._on_starter(ahead.identity)
        for ran in ahead.run(order, wanted, self._attend):
            first = ran.number + 1
            self._waiting.append(ran)
            if ran.files is not None or len(self._waiting) >= _FAR_TOGETHER:
                self._settle()
        return first

    def _attend(
        self,
        number: int,
        program: process.Program,
        files: tuple[Output, Output] | None,
        timeout: float,
    ) -> bool:
        self._number, self._program, self._files = number, program, files
        later = ((_NOTED, self._note), (_LONG, self._name))
        by_itself = process.attend(program, timeout=timeout, stop=self._stop, later=later)
        # Till then the process that starts scripts waits for us, and nobody else has it.
        self._turn.go_on(first=True)
        return by_itself

    def _run(self, script: Script, number: int, timeout: float) -> None:
        """Run it to its end."""
        began, account, self._files = time.time(), None, None
        try:
            argv, account = _command(script) if script.run_as else ([script.path], None)
            self._files = self._outputs.take(account.uid if account is not None else None)
            self._number = number
            self._script = None if self._make.look_before(script) else script
            self._program = self._start(script, argv, account, self._files, began + timeout)
        except (NotPossible, OSError, ValueError) as error:
            self._settle()
            # An earlier script may have removed this one, or taken its rights away.
            why = look(script.name, script.path)[0]
            if why:
                self._give_back(self._files)
                self._waiting.append(skipped(script, why))
                return
            ended = Ended(problem=_why_not(error, self._files))
        else:
            ended = self._wait(self._program, timeout)
        ran = Ran(script, number, account, self._files, ended, began, timeout)
        self._waiting.append(ran)
        # Before the next one begins: if we are killed, it must be clear which of them ran.
        if self._on_brief is not None and ran.by_itself:
            self._on_brief(number, script, began, ended)
        self._due = self._on_brief is None or not ran.brief(_NOTED)

    def _start(
        self,
        script: Script,
        argv: list[str],
        account: Account | None,
        files: tuple[Output, Output],
        deadline: float,
    ) -> process.Program:
        variables = self._variables_for(script.version)
        told = self._exchange.tell(self._number, account, deadline)
        return self._starter.start(argv, [*variables, *told], files)

    def _variables_for(self, version: int) -> list[bytes]:
        variables = self._variables.get(version)
        if variables is None:
            variables = self._variables[version] = self._encoded(version)
        return variables

    def _wait(self, program: process.Program, timeout: float) -> Ended:
        # Kept here they would keep us, and with us all that the phase was told.
        later = ((0.0, self._meanwhile), (_NOTED, self._note), (_LONG, self._name))
        if self._starter.quick:
            return self._waits.finish(program.pid, program.began, timeout, later)
        return process.finish(program, timeout=timeout, stop=self._stop, later=later)

    def _encoded(self, version: int) -> list[bytes]:
        environment = self._environments.get(str(version))
        if environment is None:
            raise NotPossible(f"the master sent nothing for version {version}")
        whole = {**environment, **self._extra}
        for told in (CONTEXT, VERDICT):
            whole.pop(told, None)
        return variables_of(whole)

    def _meanwhile(self) -> None:
        """The script runs: time for all that need not be done between two of them."""
        if self._script is not None:
            self._make.look_at(self._script)
        if self._due or len(self._waiting) >= _TOGETHER:
            self._settle()
        if self._starter.quick and self._number < self._last:
            with contextlib.suppress(OSError):  # the next script says so, if it is so still
                self._outputs.get_ready()

    def _note(self) -> None:
        """It takes a while: if we are killed now, it must be found again; others have a turn."""
        self._turn.over()
        if self._on_started is not None and self._program is not None:
            pid = self._program.pid
            self._on_started(identity(pid) or Identity(pid, 0))
        self._settle()

    def _name(self) -> None:
        """It takes long: what it has written so far must be there if we are killed."""
        for output, suffix in zip(self._files or (), ("out", "err"), strict=False):
            self._outputs.keep(output, f"{self._number:04d}.{suffix}")

    def _give_back(self, files: tuple[Output, Output] | None) -> None:
        for output in files or ():
            self._outputs.close(output, "")

    def _settle(self, *, last: bool = False) -> None:
        """Look at what the scripts left that nobody has looked at, and tell of them."""
        waiting, self._waiting, self._due = self._waiting, [], False
        if not waiting:
            return
        results = self._make.of_all(waiting)
        self._outputs.tidy()
        self._results += results
        if self._on_results is not None:
            try:
                self._on_results(results, last)
            except Exception:
                # What is done with a result must not keep the next script from running.
                _log.exception("the results of %d scripts", len(results))


def _command(script: Script) -> tuple[list[str], Account | None]:
    who = accounts.account(script.run_as)
    if who is None:
        return [script.path], None
    return accounts.as_user(who, script.path), who


def _why_not(error: Exception, files: tuple[Output, Output] | None) -> str:
    if isinstance(error, NotPossible):
        return f"cannot be executed: {error}"
    if files is None and isinstance(error, OSError):
        return f"cannot be executed: no file for its output: {error.strerror}"
    assert isinstance(error, OSError | ValueError)
    return process.why_not(error)
