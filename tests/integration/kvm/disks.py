"""Guests with further disks, and what a guest would write to them."""

from __future__ import annotations

import msgspec
from tests.contract.hypervisors import worlds

from gantry.host import command
from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import DiskFormat, DiskTemplate
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

MIB = 1024 * 1024
SIZE = 8


async def guest(world: worlds.KvmWorld, *formats: DiskFormat) -> GuestSpec:
    """A guest with further disks, which begin with ``old``."""
    spec = world.spec("web1.example.com")
    disks = list(spec.disks)
    for index, kind in enumerate(formats, len(disks)):
        path = world.root / f"srv/ganeti/file-storage/web1/disk{index}"
        path.parent.mkdir(parents=True, exist_ok=True)
        await command.run(
            ["qemu-img", "create", "-q", "-f", kind.value, str(path), f"{SIZE}M"], timeout=60
        )
        await command.run(
            ["qemu-io", "-f", kind.value, "-c", "write -P 1 0 1M", str(path)], timeout=60
        )
        disks.append(
            DiskSpec(
                uuid=Uuid(f"00000000-0000-4000-8000-0000000000{index:02d}"),
                index=index,
                size=SIZE,
                path=f"/srv/ganeti/file-storage/web1/disk{index}",
                template=DiskTemplate.FILE,
                format=kind,
            )
        )
    return msgspec.structs.replace(spec, disks=tuple(disks))


async def write(driver: Kvm, uuid: Uuid, index: int, value: int, where: str = "0 1M") -> None:
    """As the guest would: through its device. What qemu-io says goes to QEMU's own output."""
    await io(driver, uuid, index, f"write -P {value} {where}")


async def io(driver: Kvm, uuid: Uuid, index: int, what: str) -> None:
    """A command of qemu-io on a device."""
    monitor = await driver._running[uuid].monitor(20.0)
    line = f'qemu-io -d /machine/peripheral/drive{index}/virtio-backend "{what}"'
    said = await monitor.execute("human-monitor-command", **{"command-line": line})  # type: ignore[arg-type]
    assert said == "", said


async def nodes(driver: Kvm, uuid: Uuid) -> set[str]:
    monitor = await driver._running[uuid].monitor(20.0)
    found = await monitor.execute("query-named-block-nodes")
    return {one["node-name"] for one in found if not one["node-name"].startswith("#")}
