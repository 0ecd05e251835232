"""How long a start takes in the KVM driver, against QEMU's own start to a negotiated QMP.

The difference is ours: locks, records, sockets, console, `cont`. Run it on a quiet machine:
``.venv/bin/python -m benchmarks.kvm_start [--runs 20]``. Target: at most 60 ms more.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.figures import Figure, command, run, spread
from benchmarks.local_cluster import cluster

from gantry.host import daemon
from gantry.hypervisors.kvm import Kvm, sockets
from gantry.hypervisors.kvm.command_line import Accelerator, Handles, Place, build
from gantry.hypervisors.kvm.facts import ENVIRONMENT
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.entities import DiskTemplate
from gantry.model.live import HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

TARGET = 60.0


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


async def by_driver(runs: int) -> tuple[str, list[float], list[float]]:
    """What QEMU is, its own starts, and those by the driver, in turn; the first do not count."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        driver = Kvm(root, "node1")
        await driver.open(lambda _guest: None)
        facts = await driver.facts()
        spec = specification(root)
        bare, driven = [], []
        for _ in range(runs + 1):
            bare.append(await alone(spec, facts, root))
            driven.append(await ours(driver, spec))
        await driver.close()
    return f"QEMU {facts.version}, {facts.accelerator}", bare[1:], driven[1:]


def by_command(runs: int) -> list[float]:
    """Milliseconds of ``gnt-instance start`` of a diskless guest; the first does not count."""
    with cluster(hypervisors="kvm,fake") as where:
        instance = where.program("gnt-instance")
        add = "add -t diskless -o noop --no-install --no-start -n node1 -B memory=32 -H kvm"
        command([instance, *add.split(), "web1.gantry.test"], where.environment)
        taken = []
        for _ in range(runs + 1):
            taken.append(command([instance, "start", "web1"], where.environment))
            command([instance, "shutdown", "--timeout=0", "web1"], where.environment)
    return taken[1:]


def measure(runs: int) -> list[Figure]:
    """The driver's share, and the whole command's, above QEMU's own start."""
    what, bare, driven = asyncio.run(by_driver(runs))
    started = by_command(runs)
    qemu, least = spread(bare)
    reference = f"QEMU alone, to QMP: {qemu:.0f} ms (best {least:.0f}); {what}"
    return [
        Figure(
            what=f"`gnt-instance start`, KVM hypervisor, {name}: above QEMU's own start",
            value=statistics.median(taken) - qemu,
            best=min(taken) - least,
            unit="ms",
            target=TARGET,
            reference=reference,
            remark=f"{statistics.median(taken):.0f} ms in all",
        )
        for name, taken in (("in the driver", driven), ("whole command", started))
    ]


if __name__ == "__main__":
    run(measure, __doc__, 20)
