"""Taking a point out of a chain: in a new directory, in which all others are what they were.

What rested on the point is made anew there, by qemu-img: the next point gets its blocks, or
is a whole disk where the first one goes. Files that are there are never changed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import chains, exports, layers
from gantry.agent.chains import Point
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import export_facts
from gantry.model.asking import Nothing
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.export_facts import CONFIG, DumpFacts, Facts
from gantry.model.increment_orders import ExportPrune, ExportReplace

_REST: Final = "qcow2"


async def prune(parts: Parts, order: ExportPrune, task: Task) -> Nothing:
    """Make the new directory."""
    name = order.instance
    await exports.guarded(parts, name, lambda: exports.recover(parts.root, name))
    export, new = (exports.where(parts.root, name, suffix) for suffix in ("", exports.NEW))
    chain = await asyncio.to_thread(_chain, export)
    if order.point not in chain:
        return Nothing()
    if len(chain) == 1:
        raise Rejected(
            f"point {order.point} is all that the export of {name} has",
            f"gnt-backup remove {name} removes the export",
            reason=Reason.STATE,
        )
    try:
        await exports.guarded(parts, name, lambda: _begin(export, new))
        await _Pruning(export, new, chain, order.point, task).run()
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        raise
    return Nothing()


async def replace(parts: Parts, order: ExportReplace, task: Task) -> Nothing:
    """Change places; the export with the point is set aside."""
    name = order.instance
    export, new = (exports.where(parts.root, name, suffix) for suffix in ("", exports.NEW))

    def work() -> None:
        exports.recover(parts.root, name)
        if without(export, order.point) == numbers(new):
            exports.replace(parts.root, name)

    await exports.guarded(parts, name, work)
    return Nothing()


def numbers(export: Path) -> tuple[int, ...]:
    """Of its points; none where there is no whole one."""
    if not chains.is_plain(export / CONFIG):
        return ()
    return tuple(point.number for point in chains.points(export))


def without(export: Path, point: int) -> tuple[int, ...] | None:
    """Its points without that one; None where it has not got it."""
    found = numbers(export)
    return tuple(one for one in found if one != point) if point in found else None


class _Pruning:
    """One point that goes, and the new directory."""

    def __init__(
        self, export: Path, new: Path, chain: Mapping[int, Facts], point: int, task: Task
    ) -> None:
        self._export = export
        self._new = new
        self._chain = chain
        self._point = point
        self._task = task
        self._dumps = {dump.name: dump for facts in chain.values() for dump in facts.dumps}
        self._made: dict[str, DumpFacts] = {}

    async def run(self) -> None:
        """Leave the new directory as it is to be."""
        first = min(self._chain)
        gone = {dump.name for dump in self._chain[self._point].dumps}
        for dump in self._dumps.values():
            if dump.below in gone:
                export_facts.layers(dump.name, self._dumps.values())
                await self._without(dump, self._dumps[dump.below])
        changed = {number: self._facts(number) for number in self._chain if number != self._point}
        texts = {
            number: export_facts.encode(facts)
            for number, facts in changed.items()
            if facts != self._chain[number]
        }
        await asyncio.to_thread(self._describe, first, texts, gone)

    def _facts(self, number: int) -> Facts:
        """What is to be said of a point that stays. No later one gets the number that goes."""
        facts = self._chain[number]
        dumps = tuple(self._made.get(dump.name, dump) for dump in facts.dumps)
        highest = facts.highest
        if number == max(one for one in self._chain if one != self._point):
            highest = max(*self._chain, *(one.highest for one in self._chain.values()))
        highest = 0 if highest <= number else highest
        return msgspec.structs.replace(facts, dumps=dumps, highest=highest)

    async def _without(self, dump: DumpFacts, below: DumpFacts) -> None:
        """The dump is made anew, as it rests on what goes."""
        for each in (dump, below):
            await self._still_good(each)
        self._task.say(f"merging {below.name} into {dump.name}")
        if below.below:
            await self._merged(dump, below)
        else:
            await self._whole(dump)

    async def _now(self, dump: DumpFacts, *merged: DumpFacts) -> None:
        """It is on the disk; what is to be said of it.

        What was ``merged`` into it without a checksum of its own may have been damaged: nothing
        may then say that the result is right.
        """
        await asyncio.to_thread(chains.synced, self._new / dump.name)
        sure = all(one.sha256 for one in (dump, *merged))
        digest = await self._digest(self._new / dump.name) if sure else ""
        self._made[dump.name] = msgspec.structs.replace(dump, sha256=digest)

    async def _merged(self, dump: DumpFacts, below: DumpFacts) -> None:
        """With the blocks of ``below``, on what that rests on."""
        path = await self._own(dump.name)
        rests = self._dumps[below.below]
        layers.check(path, below.name)
        layers.check(self._new / below.name, below.below)
        argv = ["qemu-img", "rebase", "-q", "-f", _REST, "-F", _format(rests), "-b", rests.name]
        await self._command([*argv, str(path)])
        await self._now(msgspec.structs.replace(dump, below=rests.name), below)

    async def _whole(self, dump: DumpFacts) -> None:
        """All of the disk, raw; and what rests on it is told so."""
        paths = [self._export / name for name in (dump.name, dump.below)]
        layers.check(paths[0], dump.below)
        target = self._new / dump.name
        target.unlink()
        argv = ["qemu-img", "convert", "-q", "--image-opts", "-O", "raw", layers.image(paths)]
        await self._command([*argv, str(target)])
        target.chmod(0o600)
        for other in self._dumps.values():
            if other.below == dump.name:
                await self._still_good(other)
                path = await self._own(other.name)
                layers.check(path, dump.name)
                # Its content does not change, only what its header says of the format below.
                argv = ["qemu-img", "rebase", "-q", "-u", "-f", _REST, "-F", "raw", "-b"]
                await self._command([*argv, dump.name, str(path)])
                await self._now(other)
        await self._now(msgspec.structs.replace(dump, below=""), self._dumps[dump.below])

    async def _own(self, name: str) -> Path:
        """A copy of a file, in place of the link to it."""
        path = self._new / name
        path.unlink()
        await self._command(["cp", "--sparse=always", str(self._export / name), str(path)])
        path.chmod(0o600)
        return path

    async def _still_good(self, dump: DumpFacts) -> None:
        if dump.sha256 and await self._digest(self._export / dump.name) != dump.sha256:
            raise OperationFailed(
                f"{self._export / dump.name} is not what was written: nothing was removed",
                "gnt-backup verify says which points are damaged",
                reason=Reason.STATE,
            )

    async def _digest(self, path: Path) -> str:
        return await exports.sha256(path, self._task.envelope.timeout)

    async def _command(self, argv: list[str]) -> None:
        try:
            await command.run(argv, timeout=self._task.envelope.timeout)
        except command.CommandFailed as error:
            if "No space left" not in error.message:
                raise
            raise OperationFailed(
                f"point {self._point} stays, since no space is left beside it: {error.message}",
                "what rests on a point is made anew before it goes: make room for as much, or "
                "remove the whole export",
                reason=Reason.NO_RESOURCES,
            ) from error

    def _describe(self, first: int, texts: Mapping[int, str], gone: Collection[str]) -> None:
        for number, text in texts.items():
            self._write(export_facts.names(number, first)[1], text)
        for name in (*gone, *export_facts.names(self._point, first)):
            (self._new / name).unlink(missing_ok=True)
        if self._point == first:
            second = min(number for number in self._chain if number != first)
            for old, new in zip(
                export_facts.names(second, first), export_facts.names(second, second), strict=True
            ):
                (self._new / old).rename(self._new / new)

    def _write(self, name: str, text: str) -> None:
        # Not of one of Ganeti's exports: with it, it would be taken for one of ours.
        if (self._new / name).exists():
            (self._new / name).unlink()
            exports.write(self._new / name, text)


def _format(dump: DumpFacts) -> str:
    return _REST if dump.below else "raw"


def _chain(export: Path) -> dict[int, Facts]:
    if not export.is_dir():
        return {}
    return {point.number: _facts(point) for point in chains.points(export)}


def _facts(point: Point) -> Facts:
    try:
        return point.read_facts() or Facts(point=point.number)
    except OSError as error:
        raise Rejected(f"{point.facts} cannot be read: {error}", reason=Reason.STATE) from error


def _begin(export: Path, new: Path) -> None:
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    chains.link(export, new)
