"""The directory of exports: making one beside the old one, changing places, reading.

An export is ``<instance>`` once it is whole, ``.<instance>.new`` while it is made, and
``.<instance>.old`` until the job that replaced it has succeeded. No instance's name begins with
a dot, and nothing that does is listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import export_config, names
from gantry.model.asking import Nothing
from gantry.model.backup_orders import (
    CONFIG,
    EXPORT_DIRECTORY,
    FACTS,
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

_NEW: Final = ".new"
_OLD: Final = ".old"
READABLE: Final = (EXPORT_DIRECTORY, "/srv/ganeti/export")
"""Where exports are read: ours, and where Ganeti keeps them unless told otherwise."""
_MOST: Final = 1 << 20
"""Bytes of a description."""
MIB: Final = 1024 * 1024


def landing(root: Path, place: DumpFile) -> Path:
    """The path of a dump that is being received."""
    directory = _place(root, place.instance, _NEW)
    if not directory.is_dir():
        raise OperationFailed(f"the export {directory} was not begun, or has been discarded")
    return directory / names.plain(place.name, "the name of a dump")


def dump(root: Path, place: DumpFile) -> Path:
    """The path of a dump that is to be sent; Rejected where it is not there."""
    directory = _readable(root, f"{place.directory}/{place.instance}")
    path = directory / names.plain(place.name, "the name of a dump")
    if path.is_symlink() or not path.is_file():
        raise Rejected(f"the export {directory} has no file {place.name}", reason=Reason.UNKNOWN)
    return path


async def begin(parts: Parts, order: ExportBegin, task: Task) -> Nothing:
    """Make the new directory; what an interrupted job left there goes."""
    await _guarded(parts, order.instance, lambda: _begin(parts.root, order.instance))
    return Nothing()


async def discard(parts: Parts, order: ExportDiscard, task: Task) -> Nothing:
    """Nothing of the new one stays."""
    path = _place(parts.root, order.instance, _NEW)
    await _guarded(parts, order.instance, lambda: _remove(path))
    return Nothing()


async def digest(parts: Parts, order: ExportDigest, task: Task) -> Digests:
    """Read all of the dumps; a program does it."""
    found: dict[str, str] = {}
    for name in order.names:
        place = DumpFile(instance=order.instance, name=name)
        path = landing(parts.root, place) if order.new else dump(parts.root, place)
        task.say(f"reading {name}")
        said = await command.run(["sha256sum", str(path)], timeout=task.envelope.timeout)
        # A name with a backslash in it would be escaped, which a backslash before all tells.
        found[name] = said.stdout.decode().split()[0].lstrip("\\")
    return Digests(found)


async def finish(parts: Parts, order: ExportFinish, task: Task) -> Nothing:
    """Write the descriptions, make all durable, and change places."""
    await _guarded(parts, order.instance, lambda: _finish(parts.root, order))
    return Nothing()


async def revert(parts: Parts, order: ExportRevert, task: Task) -> Nothing:
    """The old one comes back, if there was one."""
    await _guarded(parts, order.instance, lambda: _revert(parts.root, order))
    return Nothing()


async def settle(parts: Parts, order: ExportSettle, task: Task) -> Nothing:
    """Delete the old one."""
    path = _place(parts.root, order.instance, _OLD)
    await _guarded(parts, order.instance, lambda: _remove(path))
    return Nothing()


async def remove(parts: Parts, order: ExportRemove, task: Task) -> Nothing:
    """Delete it; first under another name, so that no half of it is ever listed."""
    path = _place(parts.root, order.instance)
    await _guarded(parts, order.instance, lambda: _remove_older(path, order.before))
    return Nothing()


async def listed(parts: Parts, question: ReadExports) -> ExportList:
    """All that are whole."""
    return ExportList(await asyncio.to_thread(_list, parts.root))


async def read(parts: Parts, question: ReadExport) -> ExportContents:
    """The descriptions of one."""
    return await asyncio.to_thread(_read, parts.root, question.directory)


async def _guarded(parts: Parts, instance: str, work: Callable[[], None]) -> None:
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


def _place(root: Path, instance: str, suffix: str = "") -> Path:
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


def _begin(root: Path, instance: str) -> None:
    path = _place(root, instance, _NEW)
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.mkdir(mode=0o700)


def _finish(root: Path, order: ExportFinish) -> None:
    new = _place(root, order.instance, _NEW)
    final, old = _place(root, order.instance), _place(root, order.instance, _OLD)
    if not new.exists():
        if _has(final, config_digest(order.config)):
            return  # an earlier agent had come so far
        # What is there is an older one, which nobody may take for this.
        raise OperationFailed(
            f"what was exported to {new} is not there any more", "try it again", reason=Reason.STATE
        )
    for name, text in ((FACTS, order.facts), (CONFIG, order.config)):
        _write(new / name, text)
    _sync(new)
    if final.exists():
        _remove(old)
        final.rename(old)
    new.rename(final)
    _sync(final.parent)


def _revert(root: Path, order: ExportRevert) -> None:
    final, old = _place(root, order.instance), _place(root, order.instance, _OLD)
    if _has(final, order.digest):
        _remove(final)
    if old.exists() and not final.exists():
        old.rename(final)


def _has(export: Path, digest: str) -> bool:
    """Whether it is the export with this description."""
    config = export / CONFIG
    return config.is_file() and config_digest(_text(config)) == digest


def _remove_older(path: Path, before: float | None) -> None:
    if before is not None:
        with contextlib.suppress(OSError, Rejected):  # what cannot be read is not a newer one
            if export_config.parse(_text(path / CONFIG)).timestamp > int(before):
                return
    _remove(path)


def _remove(path: Path) -> None:
    gone = path.with_name(f".{path.name.lstrip('.')}.gone")
    if path.exists():
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
    if gone.exists():
        shutil.rmtree(gone)


def _write(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(directory: Path) -> None:
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
        config = export_config.parse(_text(path / CONFIG))
    except (OSError, Rejected) as error:
        return ExportFacts(
            name=path.name, directory=directory, size=used // MIB, problem=str(error)
        )
    return ExportFacts(
        name=path.name,
        directory=directory,
        time=config.timestamp,
        os=config.os,
        disks=len(config.disks),
        size=-(-used // MIB),
    )


def _read(root: Path, directory: str) -> ExportContents:
    path = _readable(root, directory)
    if not _is_plain(path / CONFIG):
        raise Rejected(
            f"there is no export in {directory}",
            "gnt-backup list shows where there are some",
            reason=Reason.UNKNOWN,
        )
    facts = path / FACTS
    return ExportContents(
        config=_text(path / CONFIG),
        facts=_text(facts) if _is_plain(facts) else "",
        files={
            file.name: file.stat().st_size
            for file in path.iterdir()
            if _is_plain(file) and file.name.isprintable()
        },
    )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _text(path: Path) -> str:
    """Of a plain file: a pipe in its place would be waited for, a link may lead anywhere."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(f"{path} is no plain file")
        return stream.read(_MOST).decode("utf-8", "replace")
