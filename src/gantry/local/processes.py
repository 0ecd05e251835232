"""The daemons of a local cluster: started so that they outlive us, found again, ended.

A daemon is found by its record (pid and start time), and where there is none, because we were
ended right after starting it, by who holds its log open.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.host.daemon import Daemon, Identity, holder, identity, spawn
from gantry.local.description import LocalNode
from gantry.local.layout import Layout, Role
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

STOP: Final = 30.0
"""Seconds that a daemon has to end in an orderly way."""
_TAIL: Final = 2000
_LOOK: Final = 0.1
_PASSED_ON: Final = ("HOME", "TMPDIR", "USER", "LOGNAME", "XDG_CACHE_HOME")


def environment(root: Path, around: Mapping[str, str]) -> dict[str, str]:
    """What a node's daemon gets: nothing of the operator's that could change how it works."""
    return {
        "PATH": f"{root}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "GANTRY_ROOT": str(root),
        **{name: around[name] for name in _PASSED_ON if name in around},
    }


def find(layout: Layout, node: LocalNode, role: Role) -> Identity | None:
    """The daemon that runs, or None."""
    try:
        record = msgspec.json.decode(layout.record(node, role).read_bytes(), type=Identity)
    except (FileNotFoundError, msgspec.MsgspecError):
        record = None
    if record is not None and alive(record):
        return record
    log = layout.log(node, role)
    return holder(log) if log.exists() else None


def alive(which: Identity) -> bool:
    """Whether that very process runs."""
    return identity(which.pid) == which


async def start(layout: Layout, node: LocalNode, role: Role) -> Identity:
    """Start a daemon and wait until it serves; the one that runs, where it does already."""
    running = find(layout, node, role)
    if running is not None and await _serves(layout, node, role):
        remember(layout.record(node, role), running)
        return running
    if running is not None:
        # Left half-way by an ``up`` that was killed: nobody would hear when it is ready.
        await end(running)
    log = layout.log(node, role)
    log.parent.mkdir(parents=True, exist_ok=True)
    ready, inherited = os.pipe()
    try:
        size = log.stat().st_size if log.exists() else 0
        daemon = _spawn(layout, node, role, inherited)
        os.close(inherited)
        inherited = -1
        remember(layout.record(node, role), daemon.identity)
        daemon.let_go()
        await _wait_until_ready(ready, daemon, log, size, _called(node, role))
    finally:
        os.close(ready)
        if inherited >= 0:
            os.close(inherited)
    return daemon.identity


async def _serves(layout: Layout, node: LocalNode, role: Role) -> bool:
    """Whether a daemon that runs is past its start. An agent is there before anybody asks."""
    if role is not Role.MASTER:
        return True
    return await is_master(layout, node) or (layout.root(node) / "run/gantry/standby.sock").exists()


async def is_master(layout: Layout, node: LocalNode) -> bool:
    """Whether the master of the cluster is on this node, and serves."""
    path = layout.root(node) / "run/gantry/master.sock"
    try:
        async with asyncio.timeout(timeouts.CONNECT):
            _, writer = await asyncio.open_unix_connection(str(path))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def has_master(layout: Layout, nodes: Iterable[LocalNode]) -> bool:
    """Whether any of the nodes has the master, and it serves."""
    return any(await asyncio.gather(*(is_master(layout, node) for node in nodes)))


async def await_master(layout: Layout, nodes: Sequence[LocalNode]) -> None:
    """Until one of the nodes has the master: candidates may still wait for an old lease's end.

    OperationFailed where none becomes it in time.
    """
    try:
        async with asyncio.timeout(timeouts.CLIENT_READ):
            # They tell nobody which of them it will be.
            while not await has_master(layout, nodes):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        raise OperationFailed(
            f"no node has become the master in {timeouts.CLIENT_READ:.0f} s",
            f"see why in {layout.root(nodes[0])}/var/log/gantry/master.log",
            reason=Reason.ENVIRONMENT,
        ) from None


def _spawn(layout: Layout, node: LocalNode, role: Role, inherited: int) -> Daemon:
    root = layout.root(node)
    descriptor = os.open(
        layout.log(node, role), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        return spawn(
            [
                sys.executable,
                "-I",
                str(layout.program(node, "gantry")),
                role,
                "--root",
                str(root),
                "--ready-fd",
                str(inherited),
            ],
            inherited=[inherited],
            errors=descriptor,
            environment=environment(root, os.environ),
        )
    finally:
        os.close(descriptor)


async def _wait_until_ready(ready: int, daemon: Daemon, log: Path, size: int, what: str) -> None:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        loop.remove_reader(ready)
        if not came.done():
            came.set_result(os.read(ready, 100))

    loop.add_reader(ready, read)
    try:
        async with asyncio.timeout(timeouts.CLIENT_READ):
            line = await came
    except TimeoutError as error:
        raise _not_started(what, "does not serve after 30 s", log, size) from error
    finally:
        loop.remove_reader(ready)
    if not line:
        raise _not_started(what, "ended while it was starting", log, size)


def _called(node: LocalNode, role: Role) -> str:
    if role is Role.SIMULATE:
        return f"process {node.label} with agents of simulated nodes"
    return f"{role} of {node.label}"


def _not_started(what: str, how: str, log: Path, size: int) -> OperationFailed:
    with log.open("rb") as stream:
        stream.seek(max(size, log.stat().st_size - _TAIL))
        said = stream.read().decode(errors="replace").strip()
    tail = "\n".join(said.splitlines()[-5:])
    return OperationFailed(
        f"the {what} {how}" + (f"; it said:\n{tail}" if tail else ""),
        f"all that it said is in {log}; mend the cause and repeat gantry local up",
        reason=Reason.ENVIRONMENT,
    )


async def stop(layout: Layout, node: LocalNode, role: Role) -> None:
    """End a daemon: asked first, and after a deadline by force. One that does not run is fine."""
    which = find(layout, node, role)
    if which is not None:
        await end(which)
    layout.record(node, role).unlink(missing_ok=True)


async def end(which: Identity) -> None:
    """End any process of ours, in an orderly way if it will."""
    daemon = Daemon.adopt(which)
    if daemon is None:
        return
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(_how: str) -> None:
        if not gone.done():
            gone.set_result(None)

    daemon.watch(ended)
    try:
        daemon.terminate()
        try:
            async with asyncio.timeout(STOP):
                await asyncio.shield(gone)
        except TimeoutError:
            daemon.kill()
            async with asyncio.timeout(timeouts.KILL_GRACE):
                await gone
    finally:
        daemon.let_go()


def remember(file: Path, which: Identity) -> None:
    """Note which process a daemon is."""
    temporary = file.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(which))
    temporary.replace(file)


def guests(layout: Layout) -> list[Identity]:
    """QEMU processes of this cluster that run: told by their arguments, which name its files."""
    marker = os.fsencode(layout.directory) + b"/node"
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        program = argv[0].rpartition(b"/")[2]
        if program.startswith(b"qemu-system") and any(marker in part for part in argv):
            which = identity(int(entry.name))
            if which is not None:
                found.append(which)
    return found
