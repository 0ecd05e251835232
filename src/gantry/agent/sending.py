"""The sending end of a transfer: it calls the node that waits, and sends all of a place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gantry.agent import changes, disk_use, ends, exports, layers, snapshots, transfer_programs
from gantry.agent.effect import Task
from gantry.agent.how_far import HowFar, percent
from gantry.agent.os_scripts import care
from gantry.agent.parts import Parts
from gantry.host import command, pipeline, signs_of_life
from gantry.host.daemon import Identity
from gantry.host.pipeline import Stage
from gantry.model import timeouts
from gantry.model.backup_orders import (
    ChangedBlocks,
    DumpFile,
    Missing,
    Moved,
    Place,
    ReadPrograms,
    ScriptedDisk,
    TransferSend,
    Way,
    WholeDisk,
)
from gantry.model.errors import GantryError, OperationFailed
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.osdefs import dump
from gantry.pki import files as certificates
from gantry.storage.raw_view import raw_copy

_INHERITED: Final = 3
"""The descriptor under which qemu-img has the directory of a snapshot's socket."""


async def send(parts: Parts, order: TransferSend, task: Task) -> Moved:
    """Send it all; when this returns, the other end has it or is about to say why not."""
    began = time.monotonic()
    directory = await asyncio.to_thread(parts.transfers.directory, order.transfer, "out")
    try:
        if order.way is Way.BLOCKS:
            size = await _blocks(parts, order, task, directory)
        else:
            size = await _stream(parts, order, task, directory)
    except TimeoutError:
        raise
    except OSError as error:
        raise ends.refused(error, parts.node) from error
    except GantryError as error:
        error.node = error.node or parts.node
        raise
    finally:
        await asyncio.to_thread(ends.clear, directory)
    counted = order.way is Way.STREAM
    return Moved(size=size, seconds=time.monotonic() - began, counted=counted)


async def programs(parts: Parts, question: ReadPrograms) -> Missing:
    """Which of the programs are not there."""
    missing = []
    for name in transfer_programs.needed(question.compress):
        try:
            command.find(name)
        except OperationFailed:
            missing.append(name)
    return Missing(tuple(missing))


async def _blocks(parts: Parts, order: TransferSend, task: Task, directory: Path) -> int:
    source, kind = _file(parts, order.place)
    files = [source]
    await asyncio.to_thread(ends.tls, parts.root, directory)
    with _served(parts, order.place) as served:
        image = transfer_programs.image_file(str(source), kind)
        if served is not None and isinstance(order.place, WholeDisk):
            image = snapshots.image(order.place.disk, Path(f"/proc/self/fd/{_INHERITED}"))
        elif isinstance(order.place, DumpFile) and order.place.below:
            files = await asyncio.to_thread(exports.layered, parts.root, order.place)
            image = layers.image(files)
        argv = transfer_programs.block_client(
            parts.configuration.cluster,
            order.peer,
            order.port,
            directory,
            order.transfer,
            image,
        )
        stage = Stage(
            argv=tuple(argv),
            errors=directory / "client",
            environment=ends.environment(parts, order.transfer),
            passed={} if served is None else {_INHERITED: served},
        )
        return await _copied(parts, order, stage, files, directory, task)


async def _copied(
    parts: Parts, order: TransferSend, stage: Stage, files: list[Path], directory: Path, task: Task
) -> int:
    """The bytes that ``files``, which are read together, take."""
    said = directory / "progress"
    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    kept = sum(file.stat().st_blocks for file in files) * 512
    copying: list[Identity] = []

    def started(stage: Stage, which: Identity) -> None:
        copying.append(which)

    def sign() -> int:
        return signs_of_life.turns(copying[0]) if copying else 0

    def sent() -> object:
        return percent(said, kept), pipeline.read_so_far(copying[0]) if copying else None

    async with HowFar(task.say, lambda: percent(said, kept), lambda: kept):
        # It writes to the other node's disk, and nothing here.
        run = _run(parts, [stage], None, out, task, started, order.peer.name)
        moving = ends.moving(run, sign, seconds=timeouts.TRANSFER_STILL, peer=order.peer.name)
        await ends.answered(moving, sent, order.peer, order.port)
    return kept


async def _stream(parts: Parts, order: TransferSend, task: Task, directory: Path) -> int:
    place = order.place
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(place, ScriptedDisk):
            await _scripted(parts, order, place, task, directory, stack)
        else:
            path, _ = _file(parts, place)
            if isinstance(place, WholeDisk):
                path = await _raw(parts, place.disk, place.guest, stack)
            size = path.stat().st_size
            count = transfer_programs.copy(source=str(path))
            await _call(parts, order, task, directory, count, None, lambda: size)
    return pipeline.copied(directory / "count")


async def _scripted(
    parts: Parts,
    order: TransferSend,
    place: ScriptedDisk,
    task: Task,
    directory: Path,
    stack: contextlib.AsyncExitStack,
) -> None:
    if place.guest is None:
        run = place.run
        stack.enter_context(disk_use.by_script(parts, run.uuid, run.name, dump.EXPORT))
        await disk_use.unattached(parts, run.disks, run.name)
    paths = [str(await _raw(parts, disk, place.guest, stack)) for disk in place.run.disks]
    reading, writing = pipeline.pipe()
    predicted, prediction = os.pipe()
    os.set_blocking(predicted, False)
    stack.callback(os.close, predicted)
    said = bytearray()

    async def script() -> None:
        try:
            await dump.export(
                parts.finder,
                place.run,
                paths,
                care(parts, task),
                index=place.index,
                target=writing,
                size=prediction,
            )
        finally:
            os.close(writing)
            os.close(prediction)

    def size() -> int | None:
        """What the script says that it will be."""
        with contextlib.suppress(BlockingIOError):
            said.extend(os.read(predicted, 64))
        text = bytes(said).strip()
        return int(text) if text.isdigit() else None

    count = transfer_programs.copy()
    await ends.both(_call(parts, order, task, directory, count, reading, size), script())


async def _call(
    parts: Parts,
    order: TransferSend,
    task: Task,
    directory: Path,
    count: list[str],
    reading: int | None,
    size: Callable[[], int | None],
) -> None:
    """From ``reading``, or what ``count`` reads by itself, to the network."""
    pki = certificates.directory(parts.root)
    caller = transfer_programs.caller(parts.configuration.cluster, order.peer, order.port, pki)
    argvs = [*transfer_programs.packing(order.compress, count), caller]
    stages = ends.stages(parts, order.transfer, directory, argvs, "first", count=0)
    counting: list[Identity] = []

    def started(stage: Stage, which: Identity) -> None:
        if stage.errors == stages[0].errors:
            counting.append(which)

    def so_far() -> int | None:
        return pipeline.read_so_far(counting[0]) if counting else None

    # Of a whole disk there is a script at neither end: an export's dump is a file.
    plain = isinstance(order.place, WholeDisk)
    still = timeouts.TRANSFER_STILL if plain else timeouts.TRANSFER_SCRIPT_STILL
    run = _run(parts, stages, reading, None, task, started)
    run = ends.moving(run, so_far, seconds=still, peer=order.peer.name)
    async with HowFar(task.say, so_far, size):
        await ends.answered(run, so_far, order.peer, order.port)


async def _run(
    parts: Parts,
    stages: list[Stage],
    stdin: int | None,
    stdout: int | None,
    task: Task,
    also: Callable[[Stage, Identity], None] | None = None,
    peer: str | None = None,
) -> None:
    def started(stage: Stage, which: Identity) -> None:
        task.started(which)
        if also is not None:
            also(stage, which)

    try:
        await pipeline.run(
            stages, stdin=stdin, stdout=stdout, timeout=task.envelope.timeout, started=started
        )
    except pipeline.Failed as error:
        raise ends.explained(error, parts.node, peer) from error


def _file(parts: Parts, place: Place) -> tuple[Path, str]:
    if isinstance(place, DumpFile):
        return exports.dump(parts.root, place), "raw"
    if isinstance(place, ChangedBlocks):
        return changes.path(parts, place.disk), "qcow2"
    if isinstance(place, WholeDisk):
        path = Path(parts.storage(place.disk).real_path(place.disk))
        return path, place.disk.format.value
    raise OperationFailed("blocks cannot come from a script")


async def _raw(
    parts: Parts, disk: DiskSpec, guest: Uuid | None, stack: contextlib.AsyncExitStack
) -> Path:
    """The disk, or a copy of it (of its snapshot) in raw form, which nobody keeps."""
    served = stack.enter_context(_open(snapshots.directory(parts, guest)))
    if served is not None:
        return Path(await stack.enter_async_context(snapshots.copied(parts, disk, served)))
    return Path(await stack.enter_async_context(raw_copy(parts.storage(disk), disk)))


def _served(parts: Parts, place: Place) -> contextlib.AbstractContextManager[int | None]:
    """The open directory in which a running guest's snapshot is served."""
    guest = place.guest if isinstance(place, WholeDisk) else None
    return _open(snapshots.directory(parts, guest))


@contextlib.contextmanager
def _open(directory: Path | None) -> Iterator[int | None]:
    """Its descriptor; through it any path is short, as a socket's must be."""
    if directory is None:
        yield None
        return
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)
