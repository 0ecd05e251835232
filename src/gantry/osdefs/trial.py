"""Trying an OS definition on scratch disks: every script as an operation would run it.

The definition is copied, as a push would bring it to a node, so that what its scripts do to
their own directory is seen and does not stay. An instance is made, exported, imported as
another one that is then renamed, and installed again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.orders import OsRun, OsVerify
from gantry.model.os_trial import Attempt, Outcome, Step, Trial, Wanted
from gantry.osdefs import check, create, dump, logged, rename, running, verify
from gantry.osdefs.running import Streams
from gantry.osdefs.search import Finder

_AFTER: Final[Mapping[Step, tuple[Step, ...]]] = {
    Step.CREATE: (Step.VERIFY,),
    Step.EXPORT: (Step.VERIFY, Step.CREATE),
    Step.IMPORT: (Step.VERIFY, Step.EXPORT),
    Step.RENAME: (Step.VERIFY, Step.CREATE, Step.IMPORT),
    Step.REINSTALL: (Step.VERIFY, Step.CREATE),
}
"""What must not have failed before a step."""
_MIB: Final = 1 << 20


class _Guest(msgspec.Struct, frozen=True):
    """An instance of the trial, and its disk."""

    run: OsRun
    disk: Path


class Bed:
    """Where one trial is made: ``scratch`` is an empty directory that is the trial's own.

    ``run`` is an instance as an operation describes it, with one disk; its ``os`` is the
    definition's name, which ``scratch`` has as a node's root would.
    """

    def __init__(self, scratch: Path, run: OsRun, wanted: Wanted) -> None:
        self._scratch = scratch
        self._wanted = wanted
        self._finder = Finder(scratch)
        self._facts = running.usable(self._finder, run.os)
        self._dump = scratch / "dump"
        full = run.os + (f"+{self._variant()}" if self._variant() else "")
        private, self._secrets = wanted.private_parameters, wanted.secret_parameters
        self._hidden = (*private.values(), *self._secrets.values())
        self._run = msgspec.structs.replace(
            run, os=full, parameters=wanted.parameters, private_parameters=private
        )
        question = OsVerify(os=full, parameters=wanted.parameters, private_parameters=private)
        # Also refuses a variant or parameter that the definition does not have.
        self._told = verify.variables(self._facts, question, self._secrets)
        self._made: dict[str, _Guest] = {}

    async def attempt(self, told: Callable[[Attempt], None]) -> Trial:
        """Run what is wanted; ``told`` hears of each step when it has ended."""
        found: dict[Step, Attempt] = {}
        for step in _chosen(self._wanted.steps):
            found[step] = await self._step(step, found)
            told(found[step])
        return Trial(
            os=self._run.os,
            api_version=check.version(self._facts.api_versions),
            attempts=tuple(found.values()),
        )

    def _variant(self) -> str:
        if self._wanted.variant or not self._facts.variants:
            return self._wanted.variant
        return self._facts.variants[0]

    async def _step(self, step: Step, before: Mapping[Step, Attempt]) -> Attempt:
        for one in _AFTER.get(step, ()):
            if one in before and before[one].outcome is Outcome.FAILED:
                return _skipped(step, f"{one} failed")
            # One that was skipped because of another is told by that one's name.
            if one in before and one is not Step.VERIFY and before[one].outcome is Outcome.SKIPPED:
                return _skipped(step, before[one].how)
        if step is Step.VERIFY and self._told is None:
            return _skipped(step, "the version of the interface has no verify")
        if step in (Step.CREATE, Step.REINSTALL) and not self._facts.trusted:
            return _skipped(step, f"{check.CREATE_UNTRUSTED} runs in a guest, and none is booted")
        attempts = {
            Step.VERIFY: self._verify,
            Step.CREATE: self._create,
            Step.EXPORT: self._export,
            Step.IMPORT: self._import,
            Step.RENAME: self._rename,
            Step.REINSTALL: self._reinstall,
        }
        return await attempts[step]()

    async def _verify(self) -> Attempt:
        ended = await running.run(
            self._facts,
            check.VERIFY,
            verify.ARGUMENTS,
            environment=self._told or {},
            timeout=self._wanted.timeout,
        )
        return self._attempt(Step.VERIFY, ended, self._told or {})

    async def _create(self) -> Attempt:
        return await self._install(Step.CREATE, again=False)

    async def _reinstall(self) -> Attempt:
        return await self._install(Step.REINSTALL, again=True)

    async def _install(self, step: Step, *, again: bool) -> Attempt:
        guest = self._guest(self._run.name)
        it = create.scripted(
            self._facts, guest.run, [str(guest.disk)], reinstall=again, secrets=self._secrets
        )
        return await self._scripted(step, it, guest)

    async def _export(self) -> Attempt:
        guest = self._guest(self._run.name)
        disk = str(guest.disk)
        with _opened(self._dump, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as target, _pipe() as size:
            streams = Streams(stdout=target, size=size[1])
            it = dump.exporting(self._facts, guest.run, [disk], 0, disk, streams)
            attempt = await self._scripted(Step.EXPORT, it, guest)
            predicted = _number(size[0])
        written = self._dump.stat().st_size
        return msgspec.structs.replace(attempt, predicted=predicted, dump=written)

    async def _import(self) -> Attempt:
        guest = self._guest(_other(self._run.name))
        with _opened(self._dump, os.O_RDONLY) as source:
            it = dump.importing(
                self._facts, guest.run, [str(guest.disk)], 0, source, secrets=self._secrets
            )
            return await self._scripted(Step.IMPORT, it, guest)

    async def _rename(self) -> Attempt:
        """Of the imported one, as an import does it; without one, of the first."""
        old = self._run.name
        guest = self._made.get(_other(old)) or self._guest(old)
        named = msgspec.structs.replace(guest.run, name=_other(old))
        it = rename.scripted(
            self._facts, named, [str(guest.disk)], old_name=old, secrets=self._secrets
        )
        return await self._scripted(Step.RENAME, it, guest)

    async def _scripted(self, step: Step, it: logged.Scripted, guest: _Guest) -> Attempt:
        ended = await running.run(
            it.facts,
            it.script,
            (),
            environment=it.variables,
            timeout=self._wanted.timeout,
            streams=it.streams,
            scope=msgspec.structs.replace(logged.scope(it), directories=(str(self._scratch),)),
        )
        return self._attempt(step, ended, it.variables, guest)

    def _attempt(
        self,
        step: Step,
        ended: running.Ended,
        environment: Mapping[str, str],
        guest: _Guest | None = None,
    ) -> Attempt:
        good = ended.succeeded and not ended.stuck
        return Attempt(
            step=step,
            outcome=Outcome.SUCCEEDED if good else Outcome.FAILED,
            how=ended.how,
            exit_status=ended.exit_status,
            duration=round(ended.duration, 6),
            output=running.redact(ended.output, self._hidden),
            environment={
                name: running.redact(value, self._hidden) for name, value in environment.items()
            },
            left=ended.left,
            stuck=ended.stuck,
            changed=self._changed(),
            written=None if guest is None else _used(guest.disk),
        )

    def _changed(self) -> tuple[str, ...]:
        """Files of the definition that are not as they were, since the last look."""
        now = self._finder.lookup(self._facts.name)
        there, was = now.files if now is not None else {}, self._facts.files
        changed = [one for one in {*there, *was} if there.get(one) != was.get(one)]
        self._facts = msgspec.structs.replace(self._facts, files=there)
        return tuple(sorted(changed))

    def _guest(self, name: str) -> _Guest:
        """The instance of that name, made with an empty disk where it is not there yet."""
        if name not in self._made:
            disk = self._scratch / "disks" / name / "disk0"
            disk.parent.mkdir(parents=True)
            with disk.open("xb") as file:
                file.truncate(self._wanted.disk * _MIB)
            spec = msgspec.structs.replace(
                self._run.disks[0], size=self._wanted.disk, path=str(disk)
            )
            run = msgspec.structs.replace(self._run, name=name, disks=(spec,))
            self._made[name] = _Guest(run, disk)
        return self._made[name]


def _chosen(steps: tuple[Step, ...]) -> list[Step]:
    """In their order; an import needs something that was exported."""
    wanted = set(steps or Step)
    if Step.IMPORT in wanted:
        wanted.add(Step.EXPORT)
    return [one for one in Step if one in wanted]


def _skipped(step: Step, why: str) -> Attempt:
    return Attempt(step=step, outcome=Outcome.SKIPPED, how=why)


def _other(name: str) -> str:
    return f"copy-of-{name}"


def _used(disk: Path) -> int:
    """Bytes that it has on the file system."""
    return disk.stat().st_blocks * 512


def _number(pipe: int) -> int | None:
    """What an export predicted; None where it did not, or that is no number."""
    try:
        word = os.read(pipe, 64).strip()
    except BlockingIOError:
        return None
    return int(word) if word.isdigit() else None


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Never waited for: what was written is read when the script has ended."""
    source, target = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(source, False)
    try:
        yield source, target
    finally:
        os.close(source)
        os.close(target)
