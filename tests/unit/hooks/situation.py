"""An instance that has everything an instance can have."""

from __future__ import annotations

from typing import Any

from tests.fakes.cluster import instance, node_uuid

from gantry.model.entities import AdminState, Disk, DiskMode, DiskTemplate, Instance, Nic, NicMode
from gantry.model.names import Uuid


def disk(number: int, **changes: Any) -> Disk:
    fields: dict[str, Any] = {
        "uuid": Uuid(f"00000000-0000-4000-8000-0000000007{number:02d}"),
        "size": 1024 * (number + 1),
        "template": DiskTemplate.FILE,
        "path": f"/srv/ganeti/file-storage/web1.example.com/disk{number}",
        **changes,
    }
    return Disk(**fields)


def nic(number: int, **changes: Any) -> Nic:
    fields: dict[str, Any] = {
        "uuid": Uuid(f"00000000-0000-4000-8000-0000000008{number:02d}"),
        "mac": f"aa:00:00:00:00:{number:02d}",
        "mode": NicMode.BRIDGED,
        "link": "br0",
        **changes,
    }
    return Nic(**fields)


def rich_instance(**changes: Any) -> Instance:
    fields: dict[str, Any] = {
        "node": 2,
        "secondary_nodes": (node_uuid(3),),
        "os": "busybox+default",
        "beparams": {"minmem": 128, "maxmem": 256, "vcpus": 2},
        "admin_state": AdminState.UP,
        "disk_template": DiskTemplate.FILE,
        "disks": (disk(0, name="root"), disk(1, mode=DiskMode.READ_ONLY)),
        "nics": (nic(0, name="front", ip="192.0.2.1"), nic(1, mode=NicMode.USER, link="")),
        "tags": ("a", "b"),
        **changes,
    }
    return instance(1, **fields)
