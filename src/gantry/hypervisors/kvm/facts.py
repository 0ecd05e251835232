"""What one QEMU binary offers on this machine, asked of it over QMP.

Machine types and CPU models are QEMU's own data; its help text is never read.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gantry.host import daemon, kvm_probe
from gantry.hypervisors.kvm.command_line import Accelerator
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.errors import GantryError, Unavailable
from gantry.model.live import HypervisorFacts

ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C"}
_MACHINE: Final = "pc"
"""Ganeti's guests know this one, and it takes devices at run time without reserved ports."""
_CPU_MODELS: Final = ("Westmere-v1", "qemu64-v1")
"""The first that runs here unabridged; the same with KVM and emulated (ADR 0004)."""


async def ask(binary: str, probed_file: Path) -> HypervisorFacts:
    """What ``binary`` offers; ``probed_file`` keeps the answer about KVM until the next boot."""
    if not os.access(binary, os.X_OK):
        return HypervisorFacts(
            available=False, why=f"{binary} is not there (Debian: apt install qemu-system-x86)"
        )
    probed = await kvm_probe.probe(probed_file)
    accelerator = Accelerator.KVM if probed.usable else Accelerator.EMULATION
    try:
        return await _ask(binary, accelerator, probed.why)
    except GantryError as error:
        return HypervisorFacts(available=False, why=f"{binary} does not start: {error}")


async def _ask(binary: str, accelerator: Accelerator, why: str) -> HypervisorFacts:
    ours, theirs = socket.socketpair()
    argv = [
        *(binary, "-no-user-config", "-nodefaults", "-S", "-display", "none"),
        *("-machine", _MACHINE, "-accel", accelerator.value),
        *("-chardev", f"socket,id=monitor,fd={theirs.fileno()}"),
        *("-mon", "chardev=monitor,mode=control"),
    ]
    with theirs, Path(os.devnull).open("wb") as nowhere:
        process = daemon.spawn(
            argv, inherited=[theirs.fileno()], errors=nowhere.fileno(), environment=ENVIRONMENT
        )
    process.watch(lambda _how: None)
    try:
        monitor = await Monitor.open(ours, "the probe", lambda _event, _data: None)
        try:
            return await _questions(monitor, accelerator, why)
        finally:
            await monitor.close()
    finally:
        process.kill()


async def _questions(monitor: Monitor, accelerator: Accelerator, why: str) -> HypervisorFacts:
    version = (await monitor.execute("query-version"))["qemu"]
    machines = await monitor.execute("query-machines")
    models = await monitor.execute("query-cpu-definitions")
    kind = "KVM" if accelerator is Accelerator.KVM else "software emulation (TCG)"
    return HypervisorFacts(
        available=True,
        why=f"{kind}: {why}",
        version=f"{version['major']}.{version['minor']}.{version['micro']}",
        accelerator=accelerator.value,
        machine=_versioned(machines),
        cpu_model=_model(models),
    )


def _versioned(machines: list[Mapping[str, Any]]) -> str:
    for machine in machines:
        if machine.get("alias") == _MACHINE:
            return str(machine["name"])
    raise Unavailable(f"QEMU has no machine type {_MACHINE}")


def _model(models: list[Mapping[str, Any]]) -> str:
    runnable = {model["name"] for model in models if not model.get("unavailable-features")}
    for name in _CPU_MODELS:
        if name in runnable:
            return name
    raise Unavailable("QEMU runs none of the CPU models " + ", ".join(_CPU_MODELS))
