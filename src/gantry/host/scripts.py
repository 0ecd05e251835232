"""A phase's hook scripts on this node, run one after the other.

What they are told and what their results mean is decided elsewhere (``gantry.hooks``), which
of them run in ``listing``. The rules here are those of the hook interface, sections 2.3 to 2.5.

A script takes less than a millisecond, and so does what is to be done about it. So all that
can wait is done while the next script runs: reading what the last one wrote, hashing, files.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gantry.hooks.record import CANCELLED
from gantry.host import accounts, process
from gantry.host.accounts import Account, NotPossible
from gantry.host.command import in_thread
from gantry.host.daemon import Identity, identity
from gantry.host.digests import digest
from gantry.host.hook_exchange import Exchange, Verdict
from gantry.host.listing import Script as Script
from gantry.host.listing import listing as listing
from gantry.host.listing import look, planned
from gantry.host.listing import runnable as runnable
from gantry.host.outputs import HALF, Output, Outputs
from gantry.host.process import Ended, Stop
from gantry.host.short_turns import Turn
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus

_log = logging.getLogger(__name__)

_ROOM: Final = 2 * 2 * HALF + 1024
"""Characters of output that the results of one run may hold together; the files hold more."""
_LEAST: Final = 200
"""Those that each script may have nevertheless."""
_WORDS: Final = 256 * 1024
"""Characters that the verdicts of one run may have together."""
_LEFT_OUT: Final = "\n[... output left out ...]\n"


_NOTED: Final = 0.02
"""Seconds after which a process is noted down. Until then its environment tells whose it is,
and noting each of them would cost a tenth of a small script's time."""
_LONG: Final = 1.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told, in the worker thread: each process, each result."""

    started: Callable[[Identity], None] | None = None
    ended: Callable[[ScriptResult], None] | None = None


async def run_hooks(
    base: Path,
    order: HooksRun,
    extra: Mapping[str, str],
    *,
    timeout: float | None = None,
    on_started: Callable[[Identity], None] | None = None,
    on_ended: Callable[[ScriptResult], None] | None = None,
    outputs: Path | None = None,
    exchange: Path | None = None,
    done: Mapping[tuple[str, str], ScriptResult] | None = None,
) -> HooksRan:
    """Run the scripts of all the order's directories below ``base``, in one sequence.

    ``extra`` is added to each environment (``GANTRY_…``). Each script may take ``timeout``
    seconds, or where that is None what the policy says. ``on_started`` is told each process
    that does not end at once, ``on_ended`` each result, both in the worker thread.
    ``outputs`` is a directory that keeps what scripts write, ``exchange`` one in which context
    and verdicts are for the time of the run. ``done`` are results by directory and script of
    scripts that are not run again: they are told in their place. A cancellation ends the
    running script's process group and starts no other.
    """
    stop = Stop()
    watch = Watch(started=on_started, ended=on_ended)
    name = "-".join((order.run_id, *(one.name for one in order.directories)))

    def work() -> HooksRan:
        with Outputs(outputs) as files, Exchange(exchange, name, bytes(order.context)) as place:
            run = _Run(order, extra, files, place, watch, stop)
            return HooksRan(results=tuple(run.all(planned(base, order), timeout, done or {})))

    return await in_thread(stop, work)


class _Ran(msgspec.Struct, frozen=True):
    """A script that has ended, before anybody has looked at what it left."""

    script: Script
    number: int
    account: Account | None
    files: tuple[Output, Output] | None
    ended: Ended
    began: float
    timeout: float


class _Run:
    """One sequence of scripts."""

    def __init__(
        self,
        order: HooksRun,
        extra: Mapping[str, str],
        outputs: Outputs,
        exchange: Exchange,
        watch: Watch,
        stop: Stop,
    ) -> None:
        self._environments = {
            version: _encoded({**variables, **order.extra, **extra})
            for version, variables in order.environments.items()
        }
        self._outputs = outputs
        self._exchange = exchange
        self._watch = watch
        self._stop = stop
        self._last: _Ran | None = None
        self._digests: dict[str, str] = {}
        self._room = _ROOM
        self._words = _WORDS
        self._null = -1
        self._turn = Turn()
        self._results: list[ScriptResult] = []

    def all(
        self,
        scripts: list[Script],
        timeout: float | None,
        done: Mapping[tuple[str, str], ScriptResult],
    ) -> list[ScriptResult]:
        """Every result, in the order of the run."""
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for number, script in enumerate(scripts):
                if self._stop.wanted:
                    break
                if done and not script.problem and (script.directory, script.name) in done:
                    self._settle()
                    self._say(self._again(done[script.directory, script.name]))
                elif script.skip or script.problem:
                    self._settle()
                    self._say(skipped(script, script.skip) if script.skip else failed(script))
                else:
                    self._one(script, number, script.timeout if timeout is None else timeout)
            self._settle()
        finally:
            os.close(self._null)
        return self._results

    def _one(self, script: Script, number: int, timeout: float) -> None:
        with self._turn:
            self._last = self._run(script, number, timeout)

    def _run(self, script: Script, number: int, timeout: float) -> _Ran | None:
        """Run it to its end; None where it did not run, of which has been told then."""
        began, account, files = time.time(), None, None
        try:
            argv, account = _command(script)
            files = self._outputs.take(account.uid if account is not None else None)
            program = self._start(script, number, argv, account, files, began + timeout)
        except (NotPossible, OSError, ValueError) as error:
            self._settle()
            # An earlier script may have removed this one, or taken its rights away.
            why = look(script.name, script.path)[0]
            if why:
                self._give_back(files)
                self._say(skipped(script, why))
                return None
            ended = Ended(problem=_why_not(error, files))
        else:
            ended = process.finish(
                program,
                timeout=timeout,
                stop=self._stop,
                later=(
                    (0.0, partial(self._meanwhile, script)),
                    (_NOTED, partial(self._note, program)),
                    (_LONG, partial(self._name, files, number)),
                ),
            )
        return _Ran(script, number, account, files, ended, began, timeout)

    def _start(
        self,
        script: Script,
        number: int,
        argv: list[str],
        account: Account | None,
        files: tuple[Output, Output],
        deadline: float,
    ) -> process.Program:
        environment = self._environments.get(str(script.version))
        if environment is None:
            raise NotPossible(f"the master sent nothing for version {script.version}")
        own = self._exchange.variables(number, account, deadline)
        out, errors = files
        return process.start(argv, {**environment, **own}, self._null, out.path, errors.path)

    def _meanwhile(self, script: Script) -> None:
        """The script runs: time for all that need not be done between two of them."""
        self._digests[script.path] = digest(script.path)
        self._settle()
        self._outputs.prepare()

    def _note(self, program: process.Program) -> None:
        """It takes a while: if we are killed now, it must be found again; others have a turn."""
        self._turn.over()
        if self._watch.started is not None:
            self._watch.started(identity(program.pid) or Identity(program.pid, 0))

    def _name(self, files: tuple[Output, Output], number: int) -> None:
        """It takes long: what it has written so far must be there if we are killed."""
        for output, suffix in zip(files, ("out", "err"), strict=True):
            self._outputs.keep(output, f"{number:04d}.{suffix}")

    def _give_back(self, files: tuple[Output, Output] | None) -> None:
        for output in files or ():
            self._outputs.close(output, "")

    def _settle(self) -> None:
        """Look at what the last script left, if nobody has."""
        ran, self._last = self._last, None
        if ran is not None:
            self._say(self._result(ran))

    def _result(self, ran: _Ran) -> ScriptResult:
        script, ended = ran.script, ran.ended
        verdict = self._heard(self._exchange.verdict(ran.number, ran.account))
        base = ScriptResult(
            directory=script.directory,
            script=script.name,
            status=ScriptStatus.SUCCEEDED if ended.succeeded else ScriptStatus.FAILED,
            exit_status=ended.exit_status,
            signal=ended.signal,
            problem=_problem(ended, ran.timeout),
            started=ran.began,
            duration=ended.duration,
            version=script.version,
            digest=self._digests.pop(script.path, ""),
            user_time=ended.user_time,
            system_time=ended.system_time,
            timeout=ran.timeout,
            timed_out=ended.timed_out,
            run_as=script.run_as,
            message=verdict.message,
            warnings=verdict.warnings,
        )
        if ran.files is None:
            return base
        reuse = ran.account is None
        out, stdout = self._outputs.close(ran.files[0], f"{ran.number:04d}.out", reuse=reuse)
        errors, stderr = self._outputs.close(ran.files[1], f"{ran.number:04d}.err", reuse=reuse)
        if not out and not errors:
            return base
        text, shortened = self._fitting((out + errors).decode("utf-8", "replace"))
        return msgspec.structs.replace(
            base,
            output=text,
            stdout=stdout,
            stderr=stderr,
            truncated=stdout.cut or stderr.cut or shortened,
        )

    def _again(self, result: ScriptResult) -> ScriptResult:
        """A result of an earlier run of the phase, with what this answer has room for."""
        verdict = self._heard(Verdict(message=result.message, warnings=result.warnings))
        text, shortened = self._fitting(result.output)
        return msgspec.structs.replace(
            result,
            output=text,
            truncated=result.truncated or shortened,
            message=verdict.message,
            warnings=verdict.warnings,
        )

    def _heard(self, verdict: Verdict) -> Verdict:
        """A verdict that an answer has room for."""
        size = len(verdict.message) + sum(map(len, verdict.warnings))
        if size > self._words:
            why = "the scripts of this run have written too much"
            return Verdict(warnings=(f"what it wrote to GANTRY_VERDICT is left out: {why}",))
        self._words -= size
        return verdict

    def _fitting(self, text: str) -> tuple[str, bool]:
        """As much of it as an answer has room for, and whether anything was left out."""
        if len(text) > max(self._room, _LEAST):
            half = max(self._room - len(_LEFT_OUT), _LEAST) // 2
            text, shortened = text[:half] + _LEFT_OUT + text[-half:], True
        else:
            shortened = False
        self._room = max(0, self._room - len(text))
        return text, shortened

    def _say(self, result: ScriptResult) -> None:
        self._results.append(result)
        if self._watch.ended is not None:
            try:
                self._watch.ended(result)
            except Exception:
                # What is done with a result must not keep the next script from running.
                _log.exception("the result of %s/%s", result.directory, result.script)


def skipped(script: Script, why: str) -> ScriptResult:
    """What is said of a script that does not run."""
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SKIPPED,
        problem=why,
        version=script.version,
    )


def failed(script: Script) -> ScriptResult:
    """What is said of a directory or a policy that cannot be read."""
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.FAILED,
        problem=script.problem,
        started=time.time(),
    )


def _command(script: Script) -> tuple[list[str], Account | None]:
    if script.run_as:
        who = accounts.account(script.run_as)
        if who is not None:
            return accounts.as_user(who, script.path), who
    return [script.path], None


def _encoded(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """As the system takes it: what is the same for all scripts need not be encoded for each."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}


def _why_not(error: Exception, files: tuple[Output, Output] | None) -> str:
    if isinstance(error, NotPossible):
        return f"cannot be executed: {error}"
    if files is None and isinstance(error, OSError):
        return f"cannot be executed: no file for its output: {error.strerror}"
    assert isinstance(error, OSError | ValueError)
    return process.why_not(error)


def _problem(ended: Ended, timeout: float) -> str:
    if ended.timed_out:
        return f"took longer than {timeout:g} s and was ended"
    if ended.cancelled:
        return CANCELLED
    return ended.problem
