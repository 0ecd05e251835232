"""How long a start takes in the KVM driver, against QEMU's own start to a negotiated QMP.

The difference is ours: locks, records, sockets, console, `cont`. Run it on a quiet machine:
``.venv/bin/python benchmarks/kvm_start.py [ROUNDS]``. Target: at most 60 ms more.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from gantry.host import daemon
from gantry.hypervisors.kvm import Kvm, sockets
from gantry.hypervisors.kvm.command_line import Accelerator, Handles, Place, build
from gantry.hypervisors.kvm.facts import ENVIRONMENT
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.entities import DiskTemplate
from gantry.model.live import HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec


def specification(root: Path) -> GuestSpec:
    path = root / "srv/disk0"
    path.parent.mkdir(parents=True, exist_ok=True)
    halt = b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(halt.ljust(1 << 20, b"\0"))
    disk = DiskSpec(
        uuid=Uuid(str(uuid.uuid4())),
        index=0,
        size=1,
        path="/srv/disk0",
        template=DiskTemplate.FILE,
    )
    return GuestSpec(
        uuid=Uuid(str(uuid.uuid4())),
        name="benchmark.gantry.test",
        hypervisor="kvm",
        memory=32,
        vcpus=1,
        disks=(disk,),
    )


async def alone(spec: GuestSpec, facts: HypervisorFacts, root: Path) -> float:
    """QEMU with the same command line, to a negotiated QMP; milliseconds."""
    place = Place(
        accelerator=Accelerator(facts.accelerator),
        machine=facts.machine,
        cpu_model=facts.cpu_model,
        root=str(root),
        console_log=str(root / "log"),
    )
    directory = root / "alone"
    directory.mkdir(exist_ok=True)
    gone = asyncio.Event()
    with contextlib.ExitStack() as opened:
        monitor = opened.enter_context(sockets.listen(directory, "monitor"))
        serial = opened.enter_context(sockets.listen(directory, "serial"))
        errors = opened.enter_context((root / "errors").open("wb"))
        handles = Handles(monitor=monitor.fileno(), serial=serial.fileno())
        argv = build(spec, place, handles)
        begun = time.perf_counter()
        process = daemon.spawn(
            argv,
            inherited=[handles.monitor, handles.serial],
            errors=errors.fileno(),
            environment=ENVIRONMENT,
        )
    process.watch(lambda _how: gone.set())
    connection = sockets.connect(directory, "monitor")
    client = await Monitor.open(connection, spec.name, lambda _event, _data: None)
    took = time.perf_counter() - begun
    await client.execute("quit")
    await client.close()
    await gone.wait()
    return took * 1000


async def ours(driver: Kvm, spec: GuestSpec) -> float:
    begun = time.perf_counter()
    await driver.start(spec)
    took = time.perf_counter() - begun
    await driver.stop(spec.uuid, timeout=1, force=True)
    return took * 1000


async def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        driver = Kvm(root, "node1")
        await driver.open(lambda _guest: None)
        facts = await driver.facts()
        spec = specification(root)
        bare, driven = [], []
        for _ in range(rounds):
            bare.append(await alone(spec, facts, root))
            driven.append(await ours(driver, spec))
        await driver.close()
    first, second = statistics.median(bare), statistics.median(driven)
    print(f"QEMU {facts.version}, {facts.accelerator}; medians of {rounds}")
    print(f"QEMU alone, to QMP:  {first:6.1f} ms")
    print(f"start by the driver: {second:6.1f} ms")
    print(f"ours:                {second - first:6.1f} ms (target: at most 60)")


asyncio.run(main())
