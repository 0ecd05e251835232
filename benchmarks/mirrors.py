"""Mirrored disks: what a write costs more than on a local disk, and what a resync takes.

    .venv/bin/python -m benchmarks.mirrors [--runs 5]

Two machines in network namespaces of their own (needs root). A Linux guest on one of them has a
local disk and, beside it, a mirrored one of 10 GiB; it writes 4 KiB in a row with O_DIRECT and
O_DSYNC to each of them in turn. Then the mirror is taken away, 100 MiB are changed, and it comes
back. The reference is a copy of 100 MiB to the other machine, into a replica that is served in
the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
from benchmarks.figures import Figure, run, spread
from pyroute2 import netns  # type: ignore[import-untyped]  # it has no types
from tests.support import measuring_guest, namespaces
from tests.support.agent_process import TestAuthority
from tests.support.cluster import short_directory
from tests.support.guest_kernel import made_guest_kernel
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.agent import transfer_programs
from gantry.host import command
from gantry.model.entities import DiskTemplate
from gantry.model.live import MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.pki import qemu_names

LATENCY = 1.8
RESYNC = 1.5
SIZE = 10240
_PATIENCE = 300.0


@contextlib.contextmanager
def within(machine: namespaces.Machine) -> Iterator[None]:
    """Sockets and processes that are made meanwhile are that machine's."""
    netns.pushns(machine.namespace)
    try:
        yield
    finally:
        netns.popns()


class Rig:
    """Both nodes, the guest on the first, and the reference's replica on the second."""

    def __init__(self, directory: Path, machines: list[namespaces.Machine], rounds: int) -> None:
        ca = TestAuthority(directory)
        self.cluster = ca.cluster
        self.machines = machines
        self.here, self.there = (
            ReplicaNode(directory / f"root{number}", ca, f"node{number}", machine.address)
            for number, machine in enumerate(machines, 1)
        )
        local = DiskSpec(
            uuid=disk_spec().uuid,
            index=0,
            size=64,
            path="/srv/ganeti/file-storage/web1/local",
            template=DiskTemplate.FILE,
        )
        self.disk = msgspec.structs.replace(disk_spec(), index=1, size=SIZE)
        self.plain = msgspec.structs.replace(
            disk_spec(), size=measuring_guest.CHANGED, path=local.path + "-plain"
        )
        self.local = local
        self.initrd = directory / "initrd"
        kernel = made_guest_kernel()
        measuring_guest.write_initrd(self.initrd, kernel.initrd, rounds)
        self.hvparams = {
            "kernel_path": str(kernel.kernel),
            "initrd_path": str(self.initrd),
            "kernel_args": "rdinit=/first quiet",
            "root_path": "",
            "disk_cache": "none",
        }

    async def open(self) -> None:
        """The guest runs, mirrored."""
        for node in (self.here, self.there):
            await node.storage.create(self.disk)
        await self.there.storage.create(self.plain)
        path = self.here.root / self.local.path.lstrip("/")
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.local.size << 20)
        self.source = self.here.root / "source"
        self.source.write_bytes(os.urandom(1 << 20) * measuring_guest.CHANGED)
        self.primary = Primary(self.here)
        await self.primary.open()
        with within(self.machines[1]):
            self.target = await self.there.serve(self.disk, self.here)
            self.reference = await self.there.serve(self.plain, self.here)
        mirrored = msgspec.structs.replace(self.disk, targets=(self.target,))
        spec = msgspec.structs.replace(
            guest_spec(self.disk), memory=128, hvparams=self.hvparams, disks=(self.local, mirrored)
        )
        self.spec: GuestSpec = spec
        with within(self.machines[0]):
            await self.primary.driver.start(spec)

    async def said(self, word: bytes, times: int = 1) -> None:
        """Until the guest has said it so often."""
        async with asyncio.timeout(_PATIENCE):
            while True:
                if self.primary.console(self.spec).count(word) >= times:
                    return
                await asyncio.sleep(0.1)

    async def resync(self, number: int) -> float:
        """Seconds from the order until a replica that was away is in order again."""
        driver, uuid = self.primary.driver, self.spec.uuid
        with within(self.machines[0]):
            await driver.release_mirror(uuid, 1, self.there.uuid)
            console = await driver.console(uuid)
            await console.write(b"xyz"[number % 3 : number % 3 + 1] + b"\n")
            await self.said(b"CHANGED", number + 1)
            await console.close()
            target = msgspec.structs.replace(self.target, full=True)
            began = time.monotonic()
            await driver.attach_mirror(uuid, 1, target)
            await self.primary.phase(self.there, MirrorPhase.READY)
        return time.monotonic() - began

    async def copy(self) -> float:
        """Seconds of a plain copy of as much."""
        tls = qemu_names.prepare(self.here.root, self.here.root / "run/gantry/reference-tls")
        argv = transfer_programs.block_client(
            self.cluster,
            self.there.peer,
            self.reference.port,
            tls,
            self.plain.uuid,
            transfer_programs.image_file(str(self.source), "raw"),
        )
        with within(self.machines[0]):
            began = time.monotonic()
            await command.run(argv, timeout=_PATIENCE)
        return time.monotonic() - began

    async def close(self) -> None:
        """Nothing of it stays."""
        await self.primary.close()
        await self.there.daemons.end(self.plain)
        await self.there.close(self.disk)


@contextlib.asynccontextmanager
async def opened(rounds: int) -> AsyncIterator[Rig]:
    """A rig that is measured."""
    with short_directory() as directory, namespaces.machines(2) as machines:
        rig = Rig(directory, list(machines), rounds)
        try:
            await rig.open()
            yield rig
        finally:
            await rig.close()


async def _measured(runs: int) -> tuple[dict[str, list[float]], list[float], list[float]]:
    async with opened(2 * runs + 1) as rig:
        await rig.said(b"MEASURED")
        found = measuring_guest.taken(rig.primary.console(rig.spec))
        resyncs, copies = [], []
        for number in range(runs):
            copies.append(await rig.copy())
            resyncs.append(await rig.resync(number))
        return found, resyncs, copies


def measure(runs: int) -> list[Figure]:
    """Two rows."""
    found, resyncs, copies = asyncio.run(_measured(runs))
    local, mirrored = found["vda"][1:], found["vdb"][1:]
    pairs = [there / here for here, there in zip(local, mirrored, strict=True)]
    ratio, best = spread(pairs)
    times = [resync / copy for resync, copy in zip(resyncs, copies, strict=True)]
    resync, best_resync = spread(times)
    return [
        Figure(
            what="write of 4 KiB to a mirrored disk, against a local one beside it",
            value=ratio,
            best=best,
            unit="×",
            target=LATENCY,
            reference=f"local: {spread(local)[0]:.2f} ms",
            remark=f"mirrored: {spread(mirrored)[0]:.2f} ms; O_DIRECT, O_DSYNC, in the guest",
        ),
        Figure(
            what="resync of 100 MiB of a disk of 10 GiB, against a copy of 100 MiB",
            value=resync,
            best=best_resync,
            unit="×",
            target=RESYNC,
            reference=f"copy: {spread(copies)[0]:.2f} s",
            remark=f"resync: {spread(resyncs)[0]:.2f} s, beside the running guest",
        ),
    ]


if __name__ == "__main__":
    assert os.geteuid() == 0, "network namespaces need root"
    run(measure, __doc__, 5)
