"""The end of a migration that receives: a QEMU that waits, and then runs the guest.

It is started without running (``-S``), so that not QEMU decides when the guest runs here, but who
knows that the other end has stopped. Until ``resume`` the record says that it waits; that is
taken back before the guest's first instruction here, so that an ended guest whose record still
has it has certainly never run.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gantry.hypervisors.contract import Freed, Link
from gantry.hypervisors.kvm import (
    awaited,
    devices,
    held,
    mirrored,
    mirrored_moves,
    secured,
    supported,
)
from gantry.hypervisors.kvm.launch import accelerator
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.news import News
from gantry.hypervisors.kvm.record import Files
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Reason, Rejected
from gantry.model.live import HypervisorFacts
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

UNKNOWN: Final = Ports(memory=0)
"""It does not listen yet."""
_DISKS: Final = "incoming-disks"


def able(spec: GuestSpec, kind: str, facts: HypervisorFacts, node: str) -> None:
    """Whether the guest can go on here, or Rejected."""
    if not facts.available:
        why = facts.why
    elif accelerator(spec, facts).value != kind:
        why = f"it runs by {kind}, and this node would run it by {accelerator(spec, facts).value}"
    else:
        return
    raise Rejected(
        f"{spec.name} cannot go on running on {node}: {why}",
        "gnt-instance failover stops it and starts it there",
        reason=Reason.ENVIRONMENT,
        node=node,
        object_name=spec.name,
    )


async def waits(running: Running, node: str) -> Ports | None:
    """The ports of one that waits already; None: it was of no use, and has been ended.

    Rejected where it is no guest that is waited for.
    """
    ports, name = running.record.incoming, running.record.spec.name
    if ports is None:
        raise Rejected(
            f"{name} is up on {node}",
            f"gnt-node end-guest {node} {running.record.spec.uuid}",
            reason=Reason.STATE,
            node=node,
            object_name=name,
        )
    monitor = await running.monitor(timeouts.QMP)
    if ports.memory and (await monitor.execute("query-status"))["status"] == "inmigrate":
        return ports
    await _end(running)
    return None


async def listen(
    running: Running, link: Link, disks: Sequence[int], root: Path, means: Means | None
) -> Ports:
    """Listen for the other end alone; the ports, which are recorded. ``root`` is the node's."""
    monitor = await running.monitor(timeouts.QMP)
    tls = await secured.listening(monitor, link)
    wanted = [{"capability": "events", "state": True}]
    wanted.append({"capability": "late-block-activate", "state": True})
    await monitor.execute("migrate-set-capabilities", capabilities=wanted)
    await monitor.execute("migrate-set-parameters", **tls)
    # What is empty in the other end's file is to be a hole here as well.
    await _discard(running, monitor, disks, root, "unmap")
    disk_port = await _serve(monitor, link.host, disks, tls) if disks else 0
    host = f"[{link.host}]" if ":" in link.host else link.host
    await monitor.execute("migrate-incoming", uri=f"tcp:{host}:0")
    [address] = (await monitor.execute("query-migrate"))["socket-address"]
    ports = Ports(memory=int(address["port"]), disks=disk_port)
    if means is not None and link.node is not None and mirrored.any_of(running.record.spec):
        await awaited.prepare(running, means.peers, link.node)
    await running.note_incoming(ports)
    return ports


async def _discard(
    running: Running, monitor: Monitor, disks: Sequence[int], root: Path, kind: str = ""
) -> None:
    """Whether freed blocks become holes; without ``kind`` as the guest's parameters say."""
    spec = running.record.spec
    values = supported.check(spec.name, spec.hvparams)
    wanted = kind or str(values["disk_discard"])
    options = [
        node
        for index in disks
        for node in devices.nodes(spec.disks[index], values, str(root), wanted)
    ]
    if options:
        await monitor.execute("blockdev-reopen", timeouts.URGENT, options=options)


async def _serve(monitor: Monitor, host: str, disks: Sequence[int], tls: dict[str, Any]) -> int:
    """Let the other end write the disks; the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # What QEMU accepts there inherits it; it does not set it itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, 0))
        listener.listen(1)
        await monitor.give(listener.fileno(), _DISKS)
        port: int = listener.getsockname()[1]
    address = {"type": "fd", "data": {"str": _DISKS}}
    await monitor.execute("nbd-server-start", addr=address, **tls)
    for index in disks:
        export: dict[str, Any] = {
            "type": "nbd",
            "id": f"incoming{index}",
            "node-name": f"disk{index}",
        }
        await monitor.execute("block-export-add", name=f"disk{index}", writable=True, **export)
    return port


async def resume(
    running: Running,
    root: Path,
    means: Means | None,
    replicated: Sequence[DiskSpec],
    freed: Freed = None,
) -> None:
    """Let it run. Rejected: it never ran, and is ended. Anything else: nobody knows.

    ``replicated`` are its disks as they are here, where they have replicas.
    """
    monitor = await running.monitor(timeouts.QMP)
    disks = [] if replicated else await _brought(monitor)
    if running.record.incoming is not None:
        await _received(running, monitor)
        if replicated:
            await _arrived(running, means, replicated, freed)
        if disks:
            await monitor.execute("nbd-server-stop")
        if not replicated:
            await running.note_incoming(None)
    if running.record.held:
        await held.go_on(running)
    elif (await monitor.execute("query-status"))["status"] == "paused":
        try:
            await running.resume(timeouts.QMP)
        except OperationFailed as error:
            await _end(running)
            raise _never(running, error.message) from error
    await running.refresh(timeouts.QMP)
    await _discard(running, monitor, disks, root)
    # Switches learn by it where the guest is now.
    await monitor.execute("announce-self", initial=50, max=550, rounds=5, step=100)
    await secured.forget(monitor)


async def _brought(monitor: Monitor) -> list[int]:
    """The indexes of disks that have come with it."""
    exports = await monitor.execute("query-block-exports")
    return [int(str(one["id"]).removeprefix("incoming")) for one in exports]


async def _arrived(
    running: Running, means: Means | None, disks: Sequence[DiskSpec], freed: Freed
) -> None:
    """Its writes go where they should from the first one on; or Rejected, and it is ended."""
    try:
        await mirrored_moves.arrive(running, means, disks, freed)
    except GantryError as error:
        await _end(running)
        raise _never(running, error.message) from error


async def _received(running: Running, monitor: Monitor) -> None:
    """All of it is here, or Rejected, and it is ended."""
    if running.awaited is not None and running.awaited.whole:
        return
    try:
        with News(running).listening() as news:
            async with asyncio.timeout(timeouts.MIGRATION_END):
                while (status := await _status(monitor)) != "completed":
                    if status in ("failed", "cancelled"):
                        raise OperationFailed("what came was not the whole of it")
                    await news.next()
    except (OperationFailed, TimeoutError) as error:
        why = "the rest of it did not come" if isinstance(error, TimeoutError) else error.message
        await _end(running)
        raise _never(running, why) from error


async def _status(monitor: Monitor) -> str:
    return str((await monitor.execute("query-migrate")).get("status", "none"))


async def _end(running: Running) -> None:
    await running.stop(timeout=0, force=True, progress=lambda _text: None)


def _never(running: Running, why: str) -> Rejected:
    return Rejected(
        f"{running.record.spec.name} was not received whole: {why}",
        reason=Reason.ENVIRONMENT,
        object_name=running.record.spec.name,
    )


def gone(uuid: Uuid, files: Files, node: str) -> GantryError:
    """What it means that it is not there: Rejected if it has never run here."""
    try:
        record = files.read()
    except msgspec.DecodeError:
        record = None
    name = record.spec.name if record else f"guest {uuid}"
    what = f"{name} is not there on node {node}"
    if record is None or record.incoming is None:
        return OperationFailed(f"{what}: it may have run", node=node, object_name=name)
    return Rejected(
        f"{what}: what waited for it has ended", reason=Reason.STATE, node=node, object_name=name
    )
