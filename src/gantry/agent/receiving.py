"""The receiving end of a transfer: it listens for one node, and puts what comes where it belongs.

Its programs are built in ``transfer_programs``; what is open is kept in ``transfers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gantry.agent import disk_use, ends, exports, transfer_programs
from gantry.agent.effect import Task
from gantry.agent.os_scripts import LOGS, disks
from gantry.agent.parts import Parts
from gantry.agent.transfers import Reception
from gantry.host import pipeline
from gantry.host.daemon import Identity, ask_to_end
from gantry.host.pipeline import Stage
from gantry.model import timeouts
from gantry.model.asking import Nothing
from gantry.model.backup_orders import (
    DumpFile,
    Listening,
    Moved,
    Place,
    ScriptedDisk,
    TransferAbort,
    TransferClose,
    TransferOpen,
    Way,
    WholeDisk,
)
from gantry.model.entities import DiskFormat
from gantry.model.errors import GantryError, OperationFailed
from gantry.osdefs import dump
from gantry.osdefs.follow import Follower
from gantry.osdefs.logged import Care
from gantry.pki import files as certificates
from gantry.storage.raw_view import raw_view

_LISTENS: Final = re.compile(r"listening on .*:(\d+)$")
_MIB: Final = 1024 * 1024


async def open_end(parts: Parts, order: TransferOpen, task: Task) -> Listening:
    """Listen; what comes is put away in the background, until it is closed or aborted."""
    secrets = dict(task.envelope.secrets)

    async def receive(reception: Reception) -> Moved:
        async with asyncio.timeout(order.lasts):
            return await _receive(parts, order, reception, secrets)

    with _on(parts):
        reception = await parts.transfers.begin(order.transfer, receive)
    return Listening(reception.port.result())


async def close_end(parts: Parts, order: TransferClose, task: Task) -> Moved:
    """Wait for the end; what went wrong is raised."""
    reception = parts.transfers.find(order.transfer, parts.node)
    reception.tell(task.say)
    reception.closing.set()
    assert reception.task is not None
    if order.failed:
        # The sender is gone: this end sees that soon, or never would.
        await asyncio.wait([reception.task], timeout=2 * timeouts.KILL_GRACE)
        if not reception.task.done():
            await parts.transfers.abort(order.transfer)
            raise OperationFailed("it waits for more", node=parts.node)
    with _on(parts):
        moved = await asyncio.shield(reception.task)
    parts.transfers.forget(order.transfer)
    parts.facts.disturbed()
    return moved


async def abort_end(parts: Parts, order: TransferAbort, task: Task) -> Nothing:
    """End it."""
    await parts.transfers.abort(order.transfer)
    return Nothing()


@contextlib.contextmanager
def _on(parts: Parts) -> Iterator[None]:
    """Says on which node it went wrong."""
    try:
        yield
    except TimeoutError:
        raise OperationFailed("it took too long and was ended", node=parts.node) from None
    except OSError as error:
        raise ends.refused(error, parts.node) from error
    except GantryError as error:
        error.node = error.node or parts.node
        raise


async def _receive(
    parts: Parts, order: TransferOpen, reception: Reception, secrets: Mapping[str, str]
) -> Moved:
    began = time.monotonic()
    directory = await asyncio.to_thread(parts.transfers.directory, order.transfer, "in")
    whole = [order.place.disk] if isinstance(order.place, WholeDisk) else []
    try:
        async with disk_use.written(parts, whole):
            if order.way is Way.BLOCKS:
                size = await _blocks(parts, order, reception, directory)
            else:
                size = await _stream(parts, order, reception, directory, secrets)
    finally:
        await asyncio.to_thread(ends.clear, directory)
    counted = order.way is Way.STREAM
    return Moved(size=size, seconds=time.monotonic() - began, counted=counted)


async def _blocks(parts: Parts, order: TransferOpen, reception: Reception, directory: Path) -> int:
    """A server that writes into a file, until the sender has all of it acknowledged."""
    path, kind = await asyncio.to_thread(_block_file, parts, order)
    await asyncio.to_thread(ends.tls, parts.root, directory)
    listener = _listener(parts.configuration.host)
    try:
        argv = transfer_programs.block_server(
            order.peer,
            directory,
            order.transfer,
            str(path),
            kind,
            direct=await asyncio.to_thread(_takes_direct, path),
        )
        stage = Stage(
            argv=tuple(argv),
            errors=directory / "server",
            environment=ends.environment(parts, order.transfer, LISTEN_FDS="1"),
            passed={transfer_programs.INHERITED: listener.fileno()},
            called=transfer_programs.called(argv),
        )
        reception.listening(listener.getsockname()[1])
        serving: list[Identity] = []

        def started(stage: Stage, which: Identity) -> None:
            serving.append(which)
            parts.transfers.noted(order.transfer, which)

        async with ends.little_said(stage.errors):
            await ends.until(
                pipeline.run([stage], timeout=order.lasts, started=started),
                reception.closing,
                lambda: bool(serving) and ask_to_end(serving[0]),
            )
    finally:
        listener.close()
    return await asyncio.to_thread(_synced, path)


def _block_file(parts: Parts, order: TransferOpen) -> tuple[Path, str]:
    place = order.place
    if isinstance(place, WholeDisk):
        return Path(parts.storage(place.disk).real_path(place.disk)), place.disk.format.value
    if not isinstance(place, DumpFile):
        raise OperationFailed("blocks cannot go through a script")
    path = exports.landing(parts.root, place)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        os.truncate(handle, place.size * _MIB)
    finally:
        os.close(handle)
    return path, DiskFormat.RAW.value


def _takes_direct(path: Path) -> bool:
    """Whether its file system knows O_DIRECT."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _listener(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((host, 0))
    listener.listen(transfer_programs.BACKLOG)
    return listener


def _synced(path: Path) -> int:
    """The bytes that are kept, once they are safe."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
        return os.fstat(handle).st_blocks * 512
    finally:
        os.close(handle)


async def _stream(
    parts: Parts,
    order: TransferOpen,
    reception: Reception,
    directory: Path,
    secrets: Mapping[str, str],
) -> int:
    async with contextlib.AsyncExitStack() as stack:
        place = order.place
        if isinstance(place, ScriptedDisk):
            paths = await stack.enter_async_context(disks(parts, place.run, dump.IMPORT))
            reading, writing = pipeline.pipe()
            programs = _programs(parts, order, reception, directory, None, writing)
            script = _script(parts, order, place, paths, reading, reception, secrets)
            await ends.both(programs, script)
        else:
            target = await _target(parts, place, stack)
            await _programs(parts, order, reception, directory, target, None)
    return pipeline.copied(directory / "count")


async def _target(parts: Parts, place: Place, stack: contextlib.AsyncExitStack) -> list[str]:
    """The dd that puts a stream into a file."""
    if isinstance(place, WholeDisk):
        path = await stack.enter_async_context(raw_view(parts.storage(place.disk), place.disk))
        return transfer_programs.copy(target=path, keep=True)
    if not isinstance(place, DumpFile):
        raise OperationFailed("a stream cannot go there")
    landing = exports.landing(parts.root, place)
    return transfer_programs.copy(target=str(landing))


async def _programs(
    parts: Parts,
    order: TransferOpen,
    reception: Reception,
    directory: Path,
    target: list[str] | None,
    writing: int | None,
) -> None:
    """From the network into ``target``, or into the pipe ``writing``."""
    pki = certificates.directory(parts.root)
    cluster, host = parts.configuration.cluster, parts.configuration.host
    count = target if target is not None else transfer_programs.copy()
    inlet, said = directory / "inlet", directory / "listener"
    os.mkfifo(inlet, 0o600)
    said.touch(mode=0o600)
    listener = Stage(
        argv=tuple(transfer_programs.listener(cluster, order.peer, host, pki, inlet)),
        errors=said,
        environment=ends.environment(parts, order.transfer),
    )
    argvs = transfer_programs.unpacking(order.compress, count, inlet)
    stages = ends.stages(parts, order.transfer, directory, argvs, "gate", count=-1)
    started = parts.transfers.started(order.transfer)

    def line(text: str) -> None:
        found = _LISTENS.search(text)
        if found is not None:
            reception.listening(int(found[1]))

    async with Follower(said, line), ends.little_said(said):
        try:
            with pipeline.roomy(inlet):
                await ends.served(
                    pipeline.run([listener], timeout=order.lasts, started=started),
                    pipeline.run(stages, stdout=writing, timeout=order.lasts, started=started),
                    reception.closing,
                )
        except pipeline.Failed as error:
            raise ends.explained(error, parts.node) from error


async def _script(
    parts: Parts,
    order: TransferOpen,
    place: ScriptedDisk,
    paths: list[str],
    reading: int,
    reception: Reception,
    secrets: Mapping[str, str],
) -> None:
    care = Care(
        log_directory=parts.root / LOGS,
        progress=reception.say,
        on_started=lambda which: parts.transfers.noted(order.transfer, which),
        timeout=order.lasts,
    )
    try:
        await dump.import_disk(
            parts.finder,
            place.run,
            paths,
            care,
            index=place.index,
            source=reading,
            secrets=secrets,
        )
    finally:
        os.close(reading)
    await asyncio.to_thread(_synced, Path(paths[place.index]))
