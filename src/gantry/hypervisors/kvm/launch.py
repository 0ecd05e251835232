"""Starting a guest: everything from its specification to QEMU running it, or to nothing.

What fails leaves no process, no socket and no tap behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gantry.host import daemon, machine
from gantry.hypervisors.contract import Taps
from gantry.hypervisors.kvm import command_line, guest_agent, mirrored, sockets
from gantry.hypervisors.kvm.command_line import Accelerator, Handles, Place
from gantry.hypervisors.kvm.facts import ENVIRONMENT
from gantry.hypervisors.kvm.record import Files, Phase, Record
from gantry.hypervisors.kvm.running import Owner, Running
from gantry.hypervisors.kvm.serial import Serial
from gantry.model import timeouts
from gantry.model.entities import NicMode
from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.live import HypervisorFacts
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where guests are started. ``taps`` is None where the node has no networks."""

    root: Path
    node: str
    taps: Taps | None
    mirrored: mirrored.Means | None = None

    def console_log(self, name: str) -> Path:
        """Where the guest of that name has its console log."""
        return self.root / "var/log/gantry/console" / f"{name}.log"


async def launch(
    spec: GuestSpec,
    *,
    paused: bool,
    facts: HypervisorFacts,
    around: Surroundings,
    files: Files,
    owner: Owner,
    incoming: Ports | None = None,
) -> Running:
    """The guest, running, or paused before its first instruction. Rejected, OperationFailed.

    ``incoming``: not the guest, but what waits for it; the ports are yet to be known.
    """
    _check_modes(spec)
    log = around.console_log(spec.name)
    place = _place(spec, facts, around.root, log)
    before = _prepare(spec, around, files)
    replicas = mirrored.Opened(undo=mirrored.nothing)
    if incoming is None:  # else who sends it has them open
        replicas = await mirrored.open_replicas(spec, around.mirrored)
    record = Record(
        spec=spec,
        phase=Phase.STARTING,
        boot_id=machine.boot_id(),
        since=time.time(),
        incoming=incoming,
    )
    try:
        with contextlib.ExitStack() as opened:
            process = await _spawn(record, place, around, files, opened)
    except BaseException:
        if before is not None:
            files.write(before, durably=False)
        await replicas.undo()
        raise
    found = process.identity
    record = msgspec.structs.replace(record, pid=found.pid, started=found.started)
    running = Running(record, files, process, owner)
    try:
        await _begin(running, log, paused, around, replicas.kept)
    except BaseException as error:
        withdrawn = asyncio.create_task(running.withdraw(before))
        await asyncio.shield(withdrawn)
        await replicas.undo()
        if isinstance(error, GantryError) and not isinstance(error, mirrored.NotBegun):
            raise _failed(running, around.node, error) from error
        raise
    return running


def _place(spec: GuestSpec, facts: HypervisorFacts, root: Path, log: Path) -> Place:
    return Place(
        accelerator=accelerator(spec, facts),
        machine=facts.machine,
        cpu_model=facts.cpu_model,
        root=str(root),
        console_log=str(log),
        vhost=facts.accelerator == "kvm" and Path("/dev/vhost-net").exists(),
    )


def _prepare(spec: GuestSpec, around: Surroundings, files: Files) -> Record | None:
    """Make the guest's directories; what was known of it before."""
    try:
        files.make()
        around.console_log(spec.name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return files.read()
    except msgspec.DecodeError:
        return None  # damaged; a new record takes its place
    except OSError as error:
        raise OperationFailed(
            f"{spec.name} cannot be started: {error}", node=around.node, object_name=spec.name
        ) from error


async def _begin(
    running: Running, log: Path, paused: bool, around: Surroundings, kept: frozenset[Uuid]
) -> None:
    await running.monitor(timeouts.GUEST_START)
    if (running.files.volatile / "serial").exists():
        connection = sockets.connect(running.files.volatile, "serial")
        running.serial = await Serial.open(connection, log)
    if running.record.incoming is None:
        await mirrored.begin(running, around.mirrored, kept)
    await running.enter(Phase.UP)
    if paused:
        await running.refresh(timeouts.GUEST_START)
    else:
        await running.resume(timeouts.GUEST_START)


async def _spawn(
    record: Record,
    place: Place,
    around: Surroundings,
    files: Files,
    opened: contextlib.ExitStack,
) -> daemon.Daemon:
    spec = record.spec
    lock = files.lock()
    if lock is None:
        raise OperationFailed(
            f"a process of {spec.name} is still there", node=around.node, object_name=spec.name
        )
    opened.callback(os.close, lock)
    try:
        monitor = opened.enter_context(sockets.listen(files.volatile, "monitor"))
        serial = opened.enter_context(sockets.listen(files.volatile, "serial"))
        append = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        errors = os.open(files.errors, append, 0o600)
        opened.callback(os.close, errors)
        taps = await open_taps(spec, around, opened)
        agent = _agent(spec, files, opened)
        handles = Handles(
            monitor=monitor.fileno(),
            serial=serial.fileno(),
            taps=taps,
            agent=agent,
            incoming=record.incoming is not None,
        )
        argv = command_line.build(spec, place, handles)
        files.write(record, durably=True)
    except OSError as error:
        raise OperationFailed(
            f"{spec.name} cannot be started: {error}", node=around.node, object_name=spec.name
        ) from error
    inherited = [lock, handles.monitor, handles.serial, *taps.values()]
    inherited += [] if agent is None else [agent]
    return daemon.spawn(argv, inherited=inherited, errors=errors, environment=ENVIRONMENT)


def _agent(spec: GuestSpec, files: Files, opened: contextlib.ExitStack) -> int | None:
    """The listening socket of the guest agent's channel, where the guest is to have one."""
    (files.volatile / guest_agent.SOCKET).unlink(missing_ok=True)
    (files.volatile / guest_agent.NOTE).unlink(missing_ok=True)
    if not spec.hvparams.get("use_guest_agent", False):
        return None
    return opened.enter_context(sockets.listen(files.volatile, guest_agent.SOCKET)).fileno()


async def open_taps(
    spec: GuestSpec, around: Surroundings, opened: contextlib.ExitStack
) -> dict[int, int]:
    """An open tap for each bridged NIC, by its index. Rejected."""
    taps: dict[int, int] = {}
    offload = spec.hvparams.get("vnet_hdr", True) is True
    for nic in spec.nics:
        if nic.mode is not NicMode.BRIDGED:
            continue
        if around.taps is None:
            raise Rejected(
                f"NIC {nic.index} of {spec.name} cannot be bridged: no networks here",
                "use mode=user",
                node=around.node,
                object_name=spec.name,
            )
        taps[nic.index] = await around.taps.open(spec.name, nic, offload=offload)
        opened.callback(os.close, taps[nic.index])
    return taps


def _check_modes(spec: GuestSpec) -> None:
    for nic in spec.nics:
        if nic.mode not in (NicMode.BRIDGED, NicMode.USER):
            raise Rejected(
                f"NIC {nic.index} of {spec.name}: mode {nic.mode} is not supported yet",
                "use mode=bridged or mode=user",
                object_name=spec.name,
            )


def accelerator(spec: GuestSpec, facts: HypervisorFacts) -> Accelerator:
    """What is to execute the guest's instructions on a node with those facts; Rejected."""
    wish = spec.hvparams.get("kvm_flag", "")
    if wish == "disabled":
        return Accelerator.EMULATION
    if wish == "enabled" and facts.accelerator != "kvm":
        raise Rejected(
            f"{spec.name} insists on KVM (kvm_flag=enabled), which this node has not",
            facts.why,
            object_name=spec.name,
        )
    return Accelerator(facts.accelerator)


def _failed(running: Running, node: str, error: GantryError) -> GantryError:
    name = running.record.spec.name
    said = running.files.last_errors() or running.how or str(error)
    return OperationFailed(
        f"QEMU could not start {name}: {said}", error.hint, node=node, object_name=name
    )


@contextlib.contextmanager
def nothing_left(files: Files) -> Iterator[None]:
    """Where a guest was never known before, what failed leaves no files either."""
    known = files.durable.exists()
    try:
        yield
    except BaseException:
        if not known:
            files.remove()
        raise
