"""The result of a script that has ended: how, what it wrote, what it answered, what it was.

Results of one sequence share the room that an answer has for texts. Nothing is run here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from gantry.hooks.record import CANCELLED
from gantry.host.accounts import Account
from gantry.host.digests import digest, known, size
from gantry.host.hook_exchange import Exchange, Verdict
from gantry.host.listing import Script
from gantry.host.outputs import HALF, Output, Outputs
from gantry.host.process import Ended
from gantry.model.orders import ScriptResult, ScriptStatus

_ROOM: Final = 2 * 2 * HALF + 1024
"""Characters of output that the results of one run may hold together; the files hold more."""
_LEAST: Final = 200
"""Those that each script may have nevertheless."""
_WORDS: Final = 256 * 1024
"""Characters that the verdicts of one run may have together."""
_SEVERAL: Final = 4
"""Scripts for which it is worth while to see first whether any of them wrote a verdict."""
_SMALL: Final = 64 * 1024
"""Bytes of a script that is read in no time."""
_NO_ROOM: Final = "[what it wrote could not be kept: {}]"
_LEFT_OUT: Final = "\n[... output left out ...]\n"


class Ran(msgspec.Struct, frozen=True):
    """A script that has ended, before anybody has looked at what it left."""

    script: Script
    number: int
    account: Account | None
    files: tuple[Output, Output] | None
    ended: Ended
    began: float
    timeout: float
    warning: str = ""
    """What is said besides."""

    @property
    def by_itself(self) -> bool:
        """Whether it came to an end that nobody else made."""
        ended = self.ended
        return not (ended.problem or ended.timed_out or ended.cancelled)

    def brief(self, seconds: float) -> bool:
        """Whether it did, and sooner than that."""
        return self.by_itself and self.ended.duration < seconds


class Results:
    """Of one sequence."""

    def __init__(self, outputs: Outputs, exchange: Exchange) -> None:
        self._outputs = outputs
        self._exchange = exchange
        self._digests: dict[str, str] = {}
        self._room = _ROOM
        self._words = _WORDS

    def look_before(self, script: Script) -> bool:
        """It is about to run, and may remove or change itself: what is not known is read now.

        False where there is much to be read, which can be done while it runs.
        """
        if script.file is None or known(script.file):
            return True
        if size(script.file) > _SMALL:
            return False
        self.look_at(script)
        return True

    def look_at(self, script: Script) -> None:
        """Read what it is."""
        self._digests[script.path] = digest(script.path)

    def of_all(self, ended: Sequence[Ran | ScriptResult]) -> list[ScriptResult]:
        """Look at what scripts left; their files may be used again. Results stay as they are."""
        written = self._exchange.written() if len(ended) >= _SEVERAL else None
        return [self._of(one, written) if isinstance(one, Ran) else one for one in ended]

    def _of(self, ran: Ran, written: frozenset[str] | None) -> ScriptResult:
        script, ended = ran.script, ran.ended
        verdict = self._exchange.verdict(ran.number, ran.account, written)
        if verdict.message or verdict.warnings:
            verdict = self._heard(verdict)
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
            digest=self._digest(ran),
            user_time=ended.user_time,
            system_time=ended.system_time,
            timeout=ran.timeout,
            timed_out=ended.timed_out,
            run_as=script.run_as,
            message=verdict.message,
            warnings=(*verdict.warnings, ran.warning) if ran.warning else verdict.warnings,
        )
        if ran.files is None:
            return base
        reuse = ran.account is None
        lost = self._lost(ran, ran.files) if ended.exit_status else ""
        out, stdout = self._outputs.close(ran.files[0], f"{ran.number:04d}.out", reuse=reuse)
        errors, stderr = self._outputs.close(ran.files[1], f"{ran.number:04d}.err", reuse=reuse)
        if not out and not errors and not lost:
            return base
        text, shortened = self._fitting((out + errors).decode("utf-8", "replace") + lost)
        return msgspec.structs.replace(
            base,
            output=text,
            stdout=stdout,
            stderr=stderr,
            truncated=stdout.cut or stderr.cut or shortened,
        )

    def _lost(self, ran: Ran, files: tuple[Output, Output]) -> str:
        """Said of a script that failed, perhaps since there was no room for what it wrote."""
        why = self._outputs.without_room(None if ran.account is None else ran.account.uid)
        return _NO_ROOM.format(why) if why else ""

    def _digest(self, ran: Ran) -> str:
        path = ran.script.path
        if path in self._digests:
            return self._digests.pop(path)
        return digest(path, ran.script.file, ran.began)

    def again(self, result: ScriptResult) -> ScriptResult:
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


def _problem(ended: Ended, timeout: float) -> str:
    if ended.timed_out:
        return f"took longer than {timeout:g} s and was ended"
    if ended.cancelled:
        return CANCELLED
    return ended.problem
