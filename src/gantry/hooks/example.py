"""A small made-up cluster, and what each operation would do in it: for trying scripts.

Three nodes, of which node1 is the master, and the instance web1 on node2, whose second node
is node3. Values are plain and stay the same, so that what a script prints can be compared.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gantry.hooks.entry import Row
from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import (
    AdminState,
    Cluster,
    Disk,
    DiskTemplate,
    Group,
    HypervisorName,
    Instance,
    Nic,
    NicMode,
    Node,
)
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build

NOW: Final = 1_790_000_000.0
_VALUES: Final[dict[str, Any]] = {
    "ABSOLUTE": False,
    "ADD_MODE": "create",
    "ALLOW_RUNTIME_CHANGES": True,
    "AMOUNT": 1024,
    "CLUSTER_IP_VERSION": 4,
    "DISK": 0,
    "DISK_ID": "disk0",
    "DISK_NAME": "sda",
    "DRAINED": False,
    "EXPORT_DO_SHUTDOWN": True,
    "EXPORT_MODE": "local",
    "EXPORT_NODE": "node3.example.com",
    "FAILOVER_CLEANUP": False,
    "FORCE": False,
    "GROUP_NAME": "default",
    "GROUP_NETWORK_LINK": "br0",
    "GROUP_NETWORK_MODE": "bridged",
    "GROUP_NETWORK_VLAN": "",
    "IGNORE_CONSISTENCY": False,
    "IGNORE_SECONDARIES": False,
    "INSTANCE_NEW_NAME": "web2.example.com",
    "MASTER_CANDIDATE": True,
    "MASTER_CAPABLE": True,
    "MASTER_IP": "192.0.2.100",
    "MASTER_NETDEV": "br0",
    "MASTER_NETMASK": 32,
    "MIGRATE_CLEANUP": False,
    "MIGRATE_LIVE": True,
    "MODE": "replace_on_secondary",
    "NETWORK_GATEWAY": "198.51.100.1",
    "NETWORK_GATEWAY6": "",
    "NETWORK_MAC_PREFIX": "",
    "NETWORK_NAME": "front",
    "NETWORK_SUBNET": "198.51.100.0/24",
    "NETWORK_SUBNET6": "",
    "NETWORK_TAGS": "",
    "NEW_ALLOC_POLICY": "preferred",
    "NEW_DISK_TEMPLATE": None,
    "NEW_MASTER": "node2.example.com",
    "NEW_NAME": "other.example.com",
    "NEW_PRIMARY": "node3.example.com",
    "NEW_SECONDARY": "node3.example.com",
    "NEW_VG_NAME": "",
    "OFFLINE": False,
    "OLD_MASTER": "node1.example.com",
    "OLD_NAME": "default",
    "OLD_PRIMARY": "node2.example.com",
    "OLD_SECONDARY": "node3.example.com",
    "REBOOT_TYPE": "hard",
    "REMOVE_INSTANCE": False,
    "RUNTIME_MEMORY": None,
    "SHUTDOWN_TIMEOUT": 120,
    "SRC_IMAGES": [],
    "SRC_NODE": None,
    "SRC_PATH": None,
    "TARGET_GROUPS": "default",
    "TARGET_NODE": "node3.example.com",
    "TIMEOUT": 120,
    "VM_CAPABLE": True,
}
"""Of the operations' own variables."""


def _uuid(number: int) -> Uuid:
    return Uuid(f"00000000-0000-4000-8000-{number:012d}")


_GROUP: Final = Group(uuid=_uuid(1), name="default", ctime=NOW, mtime=NOW)
_NODES: Final = tuple(
    Node(
        uuid=_uuid(100 + number),
        name=f"node{number}.example.com",
        ctime=NOW,
        mtime=NOW,
        primary_ip=f"192.0.2.{number}",
        secondary_ip=f"198.51.100.{number}",
        group=_GROUP.uuid,
    )
    for number in (1, 2, 3, 4)
)
NEW_NODE: Final = _NODES[3]
"""The one that node-add is about; it is not of the cluster yet."""
WEB: Final = Instance(
    uuid=_uuid(1000),
    name="web1.example.com",
    ctime=NOW,
    mtime=NOW,
    tags=("env:test",),
    primary_node=_NODES[1].uuid,
    secondary_nodes=(_NODES[2].uuid,),
    os="busybox+default",
    hypervisor=HypervisorName.KVM,
    beparams={"maxmem": 512, "minmem": 512, "vcpus": 1},
    admin_state=AdminState.UP,
    disk_template=DiskTemplate.FILE,
    disks=(
        Disk(
            uuid=_uuid(2000),
            size=10240,
            template=DiskTemplate.FILE,
            path="/srv/ganeti/file-storage/web1.example.com/disk0",
        ),
    ),
    nics=(
        Nic(
            uuid=_uuid(3000),
            mac="aa:00:00:00:00:01",
            mode=NicMode.BRIDGED,
            link="br0",
            ip="203.0.113.10",
        ),
    ),
)


def cluster(version: int, *, with_instance: bool = True) -> Snapshot:
    """The cluster; ``version`` is that of the hook interface that it uses."""
    shared = Cluster(
        uuid=_uuid(2),
        name="cluster.example.com",
        ctime=NOW,
        mtime=NOW,
        master_node=_NODES[0].uuid,
        hooks_version=version,
    )
    instances = [WEB] if with_instance else []
    return build(1, [shared, _GROUP, *_NODES[:3], *instances])


def moments(row: Row, version: int) -> tuple[tuple[Snapshot, Subject], tuple[Snapshot, Subject]]:
    """The cluster and the operation's subject, before and after."""
    adding = row.opcode == "OP_INSTANCE_CREATE"
    before, subject = cluster(version, with_instance=not adding), _subject(row)
    after = cluster(version, with_instance=row.opcode != "OP_INSTANCE_REMOVE")
    if row.opcode == "OP_NODE_ADD":
        after = after.with_changes(2, [NEW_NODE])
    if not adding:
        return (before, subject), (after, subject)
    planned = msgspec.structs.replace(subject, new_disks=True, status="True")
    return (before, planned), (after, planned)


def _subject(row: Row) -> Subject:
    nodes = tuple(node.uuid for node in _NODES[:3])
    targets = nodes if row.kind in (SubjectKind.GROUP, SubjectKind.NETWORK) else nodes[2:]
    instance = WEB if row.kind is SubjectKind.INSTANCE else None
    node = None
    if row.kind is SubjectKind.NODE:
        node = NEW_NODE if row.opcode == "OP_NODE_ADD" else _NODES[1]
    return Subject(
        kind=row.kind,
        instance=instance,
        node=node,
        values={name: _VALUES[name] for name in row.own},
        extra_nodes=targets,
    )
