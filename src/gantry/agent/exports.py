"""The directory of exports: making one beside the old one, changing places, reading.

An export is ``<instance>`` once it is whole, ``.<instance>.new`` while it is made, and
``.<instance>.old`` until the job that replaced it has succeeded; ``gantry.agent.aside`` has one
more. No instance's name begins with a dot, and nothing that does is listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from gantry.agent import chains, layers
from gantry.agent.chains import MIB, is_plain, text
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import export_config, export_facts, names
from gantry.model.asking import Nothing
from gantry.model.backup_orders import (
    CONFIG,
    EXPORT_DIRECTORY,
    Digests,
    DumpFile,
    ExportBegin,
    ExportContents,
    ExportDigest,
    ExportDiscard,
    ExportFacts,
    ExportFinish,
    ExportList,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    ReadExport,
    ReadExports,
    config_digest,
)
from gantry.model.errors import OperationFailed, Reason, Rejected

NEW: Final = ".new"
OLD: Final = ".old"
REMOVED: Final = ".removed"
READABLE: Final = (EXPORT_DIRECTORY, "/srv/ganeti/export")
"""Where exports are read: ours, and where Ganeti keeps them unless told otherwise."""


def landing(root: Path, place: DumpFile) -> Path:
    """The path of a dump that is being received."""
    directory = where(root, place.instance, NEW)
    if not directory.is_dir():
        raise OperationFailed(f"the export {directory} was not begun, or has been discarded")
    path = directory / names.plain(place.name, "the name of a dump")
    if path.exists() and path.stat().st_nlink > 1:
        raise Rejected(f"{path} belongs to an earlier point of the export", reason=Reason.STATE)
    return path


def layered(root: Path, place: DumpFile) -> list[Path]:
    """A dump and those that it rests on, as far as their headers say the same; Rejected."""
    files = [
        dump(root, msgspec.structs.replace(place, name=name)) for name in (place.name, *place.below)
    ]
    for file, below in zip(files, place.below, strict=False):
        layers.check(file, below)
    return files


def dump(root: Path, place: DumpFile) -> Path:
    """The path of a dump that is to be sent; Rejected where it is not there."""
    directory = _readable(root, f"{place.directory}/{place.instance}")
    path = directory / names.plain(place.name, "the name of a dump")
    if path.is_symlink() or not path.is_file():
        raise Rejected(f"the export {directory} has no file {place.name}", reason=Reason.UNKNOWN)
    return path


async def begin(parts: Parts, order: ExportBegin, task: Task) -> Nothing:
    """Make the new directory; what an interrupted job left there goes."""
    await guarded(parts, order.instance, lambda: _begin(parts.root, order.instance, order.upon))
    return Nothing()


async def discard(parts: Parts, order: ExportDiscard, task: Task) -> Nothing:
    """Nothing of the new one stays."""
    path = where(parts.root, order.instance, NEW)
    await guarded(parts, order.instance, lambda: delete(path))
    return Nothing()


async def digest(parts: Parts, order: ExportDigest, task: Task) -> Digests:
    """Read all of the dumps; a program does it."""
    found: dict[str, str] = {}
    for name in order.names:
        place = DumpFile(instance=order.instance, name=name)
        path = landing(parts.root, place) if order.new else dump(parts.root, place)
        task.say(f"reading {name}")
        found[name] = await sha256(path, task.envelope.timeout)
    return Digests(found)


async def sha256(path: Path, timeout: float) -> str:
    """Of all of a file; a program reads it.

    OpenSSL uses what the processor has for it: a fifth of what ``sha256sum`` takes.
    """
    said = await command.run([*_hashing(), str(path)], timeout=timeout)
    # A name with a backslash in it would be escaped, which a backslash before all tells.
    return said.stdout.decode().split()[0].lstrip("\\")


def _hashing() -> tuple[str, ...]:
    """The program; both write the hash first."""
    try:
        return (command.find("openssl"), "dgst", "-sha256", "-r")
    except OperationFailed:
        return ("sha256sum",)


async def finish(parts: Parts, order: ExportFinish, task: Task) -> Nothing:
    """Write the descriptions, make all durable, and change places."""
    await guarded(parts, order.instance, lambda: _finish(parts.root, order))
    return Nothing()


async def revert(parts: Parts, order: ExportRevert, task: Task) -> Nothing:
    """The old one comes back, if there was one."""
    await guarded(parts, order.instance, lambda: _revert(parts.root, order))
    return Nothing()


async def settle(parts: Parts, order: ExportSettle, task: Task) -> Nothing:
    """Delete what was set aside."""
    final, old, removed = (
        where(parts.root, order.instance, suffix) for suffix in ("", OLD, REMOVED)
    )

    def work() -> None:
        # What is owed to a node for long is not to take what a later job has set aside.
        if not order.digest or _has(final, order.digest):
            delete(old)
        delete(removed)

    await guarded(parts, order.instance, work)
    return Nothing()


async def remove(parts: Parts, order: ExportRemove, task: Task) -> Nothing:
    """Delete it."""
    path = where(parts.root, order.instance)
    await guarded(parts, order.instance, lambda: _remove_meant(path, order))
    return Nothing()


async def listed(parts: Parts, question: ReadExports) -> ExportList:
    """All that are whole."""
    return ExportList(await asyncio.to_thread(_list, parts.root))


async def read(parts: Parts, question: ReadExport) -> ExportContents:
    """The descriptions of one."""
    return await asyncio.to_thread(_read, parts.root, question.directory, question.point)


async def guarded(parts: Parts, instance: str, work: Callable[[], None]) -> None:
    """Do it in a thread; OperationFailed with what the system says where that refuses."""
    try:
        await asyncio.to_thread(work)
    except OSError as error:
        raise OperationFailed(
            f"the export of {instance} in {EXPORT_DIRECTORY}: {error.strerror or error}",
            "see whether the directory can be written and its file system is not full",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
            object_name=instance,
        ) from error
    parts.facts.disturbed()


def recover(root: Path, instance: str) -> None:
    """What an agent that died between two renames of ``replace`` had set aside is back."""
    final, old, removed = (where(root, instance, suffix) for suffix in ("", OLD, REMOVED))
    # Where all of it was removed, only what is not needed any more may be left aside.
    if old.exists() and not final.exists() and not removed.exists():
        old.rename(final)


def replace(root: Path, instance: str) -> None:
    """The new directory takes the place of the export, which is set aside."""
    new, final = where(root, instance, NEW), where(root, instance)
    old = where(root, instance, OLD)
    sync(new)
    delete(old)
    final.rename(old)
    new.rename(final)
    sync(final.parent)


def where(root: Path, instance: str, suffix: str = "") -> Path:
    """The directory of an instance's export, or one of those beside it."""
    name = names.host_name(instance, "the name of an instance")
    return root / EXPORT_DIRECTORY.lstrip("/") / (f".{name}{suffix}" if suffix else name)


def _readable(root: Path, directory: str) -> Path:
    names.absolute_path(directory, "the directory of an export")
    if not any(PurePosixPath(directory).parent == PurePosixPath(each) for each in READABLE):
        raise Rejected(
            f"{directory} is not a directory of an export",
            "exports are read from " + " and ".join(READABLE) + "; move it there",
        )
    path = root / directory.lstrip("/")
    # The directory of all exports may be a link to where there is room, as for making them.
    if path.is_symlink():
        raise Rejected(f"{directory} leads elsewhere by a symbolic link", "remove that link")
    return path


def _begin(root: Path, instance: str, upon: int | None) -> None:
    path, final = where(root, instance, NEW), where(root, instance)
    recover(root, instance)
    if upon is not None and not (final.is_dir() and chains.last(final).number == upon):
        raise OperationFailed(
            f"the export {final} does not end with point {upon} any more",
            "export it again",
            reason=Reason.STATE,
        )
    delete(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.mkdir(mode=0o700)
    if upon is not None:
        chains.link(final, path)


def _finish(root: Path, order: ExportFinish) -> None:
    new = where(root, order.instance, NEW)
    final, old = where(root, order.instance), where(root, order.instance, OLD)
    if not new.exists():
        if _has(final, config_digest(order.config, order.point)):
            return  # an earlier agent had come so far
        # What is there is an older one, which nobody may take for this.
        raise OperationFailed(
            f"what was exported to {new} is not there any more", "try it again", reason=Reason.STATE
        )
    first = 1 if order.point == 1 else chains.points(new)[0].number
    config, facts = export_facts.names(order.point, first)
    for name, content in ((facts, order.facts), (config, order.config)):
        write(new / name, content)
    sync(new)
    if final.exists():
        delete(old)
        final.rename(old)
    new.rename(final)
    sync(final.parent)


def _revert(root: Path, order: ExportRevert) -> None:
    final, old = where(root, order.instance), where(root, order.instance, OLD)
    if _has(final, order.digest):
        delete(final)
    if old.exists() and not final.exists():
        old.rename(final)


def _has(export: Path, digest: str) -> bool:
    """Whether it is the export whose last point has this description."""
    if not (export / CONFIG).is_file():
        return False
    point = chains.last(export)
    return config_digest(text(point.config), point.number) == digest


def _remove_meant(path: Path, order: ExportRemove) -> None:
    with contextlib.suppress(OSError, Rejected):  # what cannot be read is not a newer one
        if len(chains.points(path)) > 1 or _of_another(path, order.owner):
            return
    if order.before is None or not newer(path, order.before):
        delete(path)


def _of_another(export: Path, owner: str) -> bool:
    """Whether it says that it is another instance's."""
    facts = chains.last(export).read_facts()
    return facts is not None and bool(facts.instance) and owner not in ("", facts.instance)


def newer(export: Path, moment: float) -> bool:
    """Whether its last point was made after that moment; what cannot be read was not."""
    with contextlib.suppress(OSError, Rejected):
        return chains.last(export).read_config().timestamp > int(moment)
    return False


def delete(path: Path) -> None:
    """First under another name, so that no half of it is ever listed."""
    gone = path.with_name(f".{path.name.lstrip('.')}.gone")
    if path.exists():
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
    if gone.exists():
        shutil.rmtree(gone)


def write(path: Path, content: str) -> None:
    """A description, for root alone, on the disk when this returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync(directory: Path) -> None:
    """What was renamed in it stays so after a crash."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _list(root: Path) -> tuple[ExportFacts, ...]:
    found: list[ExportFacts] = []
    for directory in READABLE:
        place = root / directory.lstrip("/")
        if place.is_dir():
            found += [_facts(path, directory) for path in sorted(place.iterdir()) if _whole(path)]
    return tuple(found)


def _whole(path: Path) -> bool:
    hidden = path.name.startswith(".") or not path.name.isprintable()
    return not hidden and path.is_dir() and not path.is_symlink()


def _facts(path: Path, directory: str) -> ExportFacts:
    used = 0
    try:
        used = sum(file.stat().st_blocks * 512 for file in path.iterdir() if file.is_file())
        points = tuple(chains.listed(one) for one in chains.points(path))
        config = export_config.parse(text(path / CONFIG))
    except (OSError, Rejected) as error:
        return ExportFacts(
            name=path.name, directory=directory, size=used // MIB, problem=str(error)
        )
    return ExportFacts(
        name=path.name,
        directory=directory,
        time=points[-1].time,
        os=config.os,
        disks=len(config.disks),
        size=-(-used // MIB),
        points=points,
    )


def _read(root: Path, directory: str, number: int | None) -> ExportContents:
    path = _readable(root, directory)
    if not is_plain(path / CONFIG):
        raise Rejected(
            f"there is no export in {directory}",
            "gnt-backup list shows where there are some",
            reason=Reason.UNKNOWN,
        )
    points = chains.points(path)
    wanted = [one for one in points if number in (None, one.number)]
    if not wanted:
        raise Rejected(
            f"the export in {directory} has no point {number}",
            "it has " + ", ".join(str(one.number) for one in points),
            reason=Reason.UNKNOWN,
        )
    point = wanted[-1]
    return ExportContents(
        config=text(point.config),
        facts=text(point.facts) if is_plain(point.facts) else "",
        files={file.name: file.stat().st_size for file in path.iterdir() if is_plain(file)},
        point=point.number,
        points=tuple(one.number for one in points),
        dumps=chains.dumps(points),
    )
