"""Mirrored disks come to a guest that runs, and go: nothing that it wrote is on one side alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, nodes, write
from tests.support.agent_process import TestAuthority, new_uuid
from tests.support.guest_kernel import GuestKernel, guest_kernel
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.hypervisors.kvm import plugging
from gantry.model import timeouts
from gantry.model.errors import Rejected
from gantry.model.live import MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec

__all__ = ["guest_kernel"]
pytestmark = pytest.mark.qemu


@dataclass
class Cluster:
    """A guest with a shell, one mirrored disk, and another one that is to come."""

    primary: Primary
    here: ReplicaNode
    there: ReplicaNode
    spec: GuestSpec
    disk: DiskSpec

    async def typed(self, line: str, answer: bytes) -> None:
        """The answer is not among what is echoed."""
        console = await self.primary.driver.console(self.spec.uuid)
        await console.write(line.encode() + b"\n")
        await worlds.reads(console, answer)
        await console.close()

    def same(self) -> bool:
        return self.here.path(self.disk).read_bytes() == self.there.path(self.disk).read_bytes()


@pytest.fixture
async def cluster(tmp_path: Path, guest_kernel: GuestKernel) -> AsyncIterator[Cluster]:
    ca = TestAuthority(tmp_path)
    here, there = (ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2"))
    first = disk_spec()
    path = first.path.replace("disk0", "disk1")
    second = msgspec.structs.replace(first, uuid=new_uuid(), index=1, path=path, size=4)
    for node in (here, there):
        await node.create(first)
        await node.storage.create(second)
    primary = Primary(here)
    await primary.open()
    hvparams = {
        "kernel_path": str(guest_kernel.kernel),
        "initrd_path": str(guest_kernel.initrd),
        "kernel_args": "rdinit=/bin/sh panic=-1",
    }
    spec = guest_spec(first, await there.serve(first, here))
    spec = msgspec.structs.replace(spec, memory=128, hvparams=hvparams)
    await primary.driver.start(spec)
    target = await there.serve(second, here)
    disk = msgspec.structs.replace(second, targets=(target,))
    found = Cluster(primary, here, there, spec, disk)
    await found.typed("", b"/ # ")
    await found.typed(
        "mount -t proc proc /proc; mount -t sysfs sys /sys; modprobe -a virtio_pci virtio_blk; "
        "echo r''eady",
        b"ready",
    )
    yield found
    await primary.close()
    for one in (first, second):
        await there.close(one)


async def test_a_mirrored_disk_comes_to_a_guest_and_goes(cluster: Cluster) -> None:
    primary, spec, disk, there = cluster.primary, cluster.spec, cluster.disk, cluster.there
    seen = "until grep -q vdb /proc/partitions; do sleep 1; done; echo se''en"
    gone = "while grep -q vdb /proc/partitions; do sleep 1; done; echo go''ne"

    # An agent that dies before the guest has it leaves what the next one does again.
    running = primary.driver._running[spec.uuid]
    monitor = await running.monitor(timeouts.QMP)
    await plugging._open(running, monitor, disk, str(cluster.here.root), cluster.here.means)
    await primary.restart_agent()
    for _ in range(2):
        await primary.driver.plug_disk(spec.uuid, disk)
    live = await primary.until(lambda guest: len(guest.mirrors) == 2)
    assert {(one.disk, one.phase) for one in live.mirrors} == {
        (one.uuid, MirrorPhase.READY) for one in (spec.disks[0], disk)
    }
    await cluster.typed(seen, b"seen")
    await write(primary.driver, spec.uuid, 1, 5)
    assert there.path(disk).read_bytes()[:MIB] == b"\5" * MIB
    assert not (await cluster.here.seen(disk)).clean

    # Let go of and given back, by a later agent too: it was mirrored all the time.
    for _ in range(2):
        await primary.driver.unplug_disk(spec.uuid, disk, 20.0, keep=True)
    await cluster.typed(gone, b"gone")
    await primary.restart_agent()
    await primary.phase(there, MirrorPhase.READY)
    for _ in range(2):
        await primary.driver.plug_disk(spec.uuid, disk)
    await cluster.typed(seen, b"seen")
    await write(primary.driver, spec.uuid, 1, 6, "1M 1M")
    assert there.path(disk).read_bytes()[MIB : 2 * MIB] == b"\6" * MIB

    # What is lost is released, and comes back as any other.
    await there.vanish(disk)
    await primary.until(lambda guest: any(one.phase is MirrorPhase.LOST for one in guest.mirrors))
    for one in (spec.disks[0], disk):
        await primary.driver.release_mirror(spec.uuid, one.index, there.uuid)
    await write(primary.driver, spec.uuid, 1, 7, "2M 1M")
    await there.restart_agent()
    target = await there.serve(disk, cluster.here, overwrite=True, full=True)
    await primary.driver.attach_mirror(spec.uuid, 1, target)
    await primary.until(
        lambda guest: (
            [one.phase for one in guest.mirrors if one.disk == disk.uuid] == [MirrorPhase.READY]
        )
    )
    assert there.path(disk).read_bytes()[: 3 * MIB] == b"\5" * MIB + b"\6" * MIB + b"\7" * MIB

    other = msgspec.structs.replace(disk, uuid=new_uuid())
    with pytest.raises(Rejected, match="has a disk 1 already"):
        await primary.driver.plug_disk(spec.uuid, other)
    for _ in range(2):
        await primary.driver.unplug_disk(spec.uuid, disk, 20.0)
    await cluster.typed(gone, b"gone")
    live = await primary.until(lambda guest: guest.up)
    assert disk.uuid not in {one.disk for one in live.mirrors}
    left = await nodes(primary.driver, spec.uuid)
    assert [name for name in left if re.match("[a-z]+1", name)] == []
    assert cluster.same()
    kept = primary.driver._running[spec.uuid].record.spec.disks
    assert [one.index for one in kept] == [0]
