"""For every operation: what it is given, and the cluster that it is done on.

A new operation is covered by a line here; a test fails while there is none.
"""

from __future__ import annotations

from typing import Any

import msgspec
from tests.fakes.cluster import CLUSTER, FakeCluster, entities, instance, node_uuid
from tests.fakes.export_files import chain, exported
from tests.fakes.world import NOOP, FakeDisk, FakeNode
from tests.faults.mirrored import MIRRORED, exported_on_node_3
from tests.faults.situation import Situation, Unsure

from gantry.model import bundles
from gantry.model.bundles import HOOKS, BundleFile
from gantry.model.entities import (
    AdminState,
    Bundle,
    Cluster,
    Disk,
    DiskTemplate,
    HypervisorName,
    Joined,
    Node,
    Rollout,
    Token,
    Webhook,
)
from gantry.model.hook_switch import HookSwitch
from gantry.model.names import Uuid
from gantry.model.orders import BundleInstall, DiskSpec, GuestStart
from gantry.operations.steps import specs

JOINING = Uuid("00000000-0000-4000-8000-000000000999")

DISK = Disk(
    uuid=Uuid("00000000-0000-4000-8000-000000000777"),
    size=128,
    template=DiskTemplate.FILE,
    path="/srv/ganeti/file-storage/web1/disk0",
)
UP = instance(1, admin_state=AdminState.UP)
DOWN = instance(1)
MACHINE = Joined(uuid=JOINING, name="node4.example.com", primary_ip="127.1.0.4", port=1811)
TOKEN = Token(
    uuid=Uuid("00000000-0000-4000-8000-000000000888"),
    name="node4.example.com",
    secret_hash="5" * 64,
    expires=4_000_000_000.0,
)
[_CLUSTER] = [one for one in entities() if isinstance(one, Cluster)]
TAKEN_OVER = msgspec.structs.replace(_CLUSTER, failed_over_from=node_uuid(3))
NAMED = instance(
    1,
    disk_template=DiskTemplate.FILE,
    disks=tuple(
        Disk(
            uuid=Uuid(f"00000000-0000-4000-8000-00000000078{number}"),
            size=64,
            template=DiskTemplate.FILE,
            path=f"/srv/ganeti/file-storage/web1.example.com/disk{number}",
        )
        for number in range(2)
    ),
)
MARK = Uuid("00000000-0000-4000-8000-0000000003a2")
WITH_DISK = instance(1, disks=(DISK,), disk_template=DiskTemplate.FILE)
SHARED = msgspec.structs.replace(
    DISK,
    template=DiskTemplate.SHAREDFILE,
    path="/srv/ganeti/shared-file-storage/web1.example.com/disk0",
)
WITH_SHARED = instance(1, disks=(SHARED,), disk_template=DiskTemplate.SHAREDFILE)
UP_SHARED = msgspec.structs.replace(WITH_SHARED, admin_state=AdminState.UP)
[_NODE3] = [one for one in entities() if isinstance(one, Node) and one.uuid == node_uuid(3)]
OFFLINE3 = msgspec.structs.replace(_NODE3, offline=True, master_candidate=False)
UP_WITH_TWO_DISKS = msgspec.structs.replace(NAMED, admin_state=AdminState.UP)
UP_WITH_DISK = msgspec.structs.replace(WITH_DISK, admin_state=AdminState.UP)


def running(cluster: FakeCluster) -> None:
    """web1 runs on node 1."""
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, UP))
    cluster.world.nodes[node_uuid(1)]._start(order)


def running_with_disk(cluster: FakeCluster) -> None:
    """web1 runs on node 1, and has a disk."""
    disk_there(cluster)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, UP_WITH_DISK))
    cluster.world.nodes[node_uuid(1)]._start(order)


def running_on_shared_disk(cluster: FakeCluster) -> None:
    """web1 runs on node 1; all nodes see its disk."""
    shared_disk_there(cluster)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, UP_SHARED))
    cluster.world.nodes[node_uuid(1)]._start(order)


def shared_disk_there(cluster: FakeCluster) -> None:
    """All nodes see the disk of web1."""
    for node in cluster.world.nodes.values():
        for spec in specs.disks(UP_SHARED):
            node.disks[spec.path] = FakeDisk(spec, "kept")


def lost(cluster: FakeCluster) -> None:
    """web1 runs on node 2, and the record says node 1."""
    shared_disk_there(cluster)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, UP_SHARED))
    cluster.world.nodes[node_uuid(2)]._start(order)


OOB = {"oob_program": "/usr/local/sbin/oob"}
WITH_OOB = msgspec.structs.replace(_CLUSTER, ndparams=OOB)


def oob_program_there(cluster: FakeCluster) -> None:
    """The site's program that switches power is on the master's node."""
    cluster.world.nodes[node_uuid(1)].oob_programs.add(OOB["oob_program"])


def running_with_two_disks(cluster: FakeCluster) -> None:
    """web1 runs on node 1, and has two disks."""
    named_disks_there(cluster)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, UP_WITH_TWO_DISKS))
    cluster.world.nodes[node_uuid(1)]._start(order)


def stranger(cluster: FakeCluster) -> None:
    """A guest that no instance knows runs on node 2."""
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    order = GuestStart(spec=specs.guest(settings, instance(9, node=2)))
    cluster.world.nodes[node_uuid(2)]._start(order)


def disk_there(cluster: FakeCluster) -> None:
    """The disk of web1 is on node 1."""
    spec = DiskSpec(uuid=DISK.uuid, index=0, size=DISK.size, path=DISK.path, template=DISK.template)
    cluster.world.nodes[node_uuid(1)].disks[DISK.path] = FakeDisk(spec, "kept")


APART = {"hypervisor": "kvm", "os_type": "apart"}
INSTALL_IMAGE = "/srv/images/install.img"
WITH_IMAGE = msgspec.structs.replace(
    _CLUSTER,
    enabled_hypervisors=(HypervisorName.FAKE, HypervisorName.KVM),
    install_image=INSTALL_IMAGE,
)
GUEST_IMAGE = {"os-image": "/srv/images/web.img"}


def images_there(cluster: FakeCluster) -> None:
    """A definition that is not trusted and two images on all nodes; two disks of web1 on one."""
    named_disks_there(cluster)
    for node in cluster.world.nodes.values():
        node.oses += (msgspec.structs.replace(NOOP, name="apart", trusted=False),)
        node.images = {INSTALL_IMAGE: 1 << 20, GUEST_IMAGE["os-image"]: 1 << 20}


def named_disks_there(cluster: FakeCluster) -> None:
    """Two disks of web1 in a directory of its name; another definition on all nodes."""
    for disk in specs.disks(NAMED):
        cluster.world.nodes[node_uuid(1)].disks[disk.path] = FakeDisk(disk, "kept")
    for node in cluster.world.nodes.values():
        node.oses += (msgspec.structs.replace(NOOP, name="other"),)


def exported_before(cluster: FakeCluster) -> None:
    """There is a disk to export, an older export on the same node, and one elsewhere."""
    disk_there(cluster)
    for number in (2, 3):
        files = exported("old")
        cluster.world.nodes[node_uuid(number)].exports.whole["web1.example.com"] = files


def chain_there(cluster: FakeCluster) -> None:
    """Node 2 has an export of web1 with two points, and what has changed since is counted."""
    running_with_disk(cluster)
    size = f"disk0_size = {DISK.size}"
    files = {
        name: text.replace("disk0_size = 128", size)
        for name, text in chain(
            UP_WITH_DISK.name, DISK.uuid, MARK, instance=UP_WITH_DISK.uuid
        ).items()
    }
    cluster.world.nodes[node_uuid(2)].exports.whole[UP_WITH_DISK.name] = files
    cluster.world.nodes[node_uuid(1)].exports.marks[UP_WITH_DISK.uuid] = {MARK: (0,)}


def nothing_new(cluster: FakeCluster) -> None:
    """The same of one that does not run, and to whose disk nobody has written."""
    chain_there(cluster)
    exports = cluster.world.nodes[node_uuid(2)].exports.whole[WITH_DISK.name]
    exports |= {
        name: text.replace("disk0_size = 128", f"disk0_size = {DISK.size}")
        for name, text in chain(
            WITH_DISK.name, DISK.uuid, MARK, "as it was", WITH_DISK.uuid
        ).items()
    }
    source = cluster.world.nodes[node_uuid(1)]
    source.guests.clear()
    source.exports.marks.clear()
    source.exports.stamps = {DISK.uuid: "as it was"}


def joined(cluster: FakeCluster) -> None:
    """A fourth machine has joined."""
    cluster.world.add(FakeNode(JOINING, "node4.example.com"))


def _bundle(number: int, target: str = HOOKS) -> Bundle:
    """A bundle with one script of its own and one that all have."""
    names = ["instance-add-pre.d/10-all", f"instance-add-pre.d/20-{number}"]
    if target != HOOKS:
        names = ["create", f"parts/{number}"]
    files = bundles.check(
        BundleFile(path=name, mode=0o755, content=b"#!/bin/sh\n") for name in names
    )
    manifest = bundles.entries(files)
    return Bundle(
        uuid=Uuid(f"00000000-0000-4000-8000-000000000{6 + (target != HOOKS)}{number:02d}"),
        name=f"{target}-{number}",
        target=target,
        number=number,
        sha256=bundles.digest(manifest),
        packed=bundles.pack(files),
        files=manifest,
    )


WEBHOOK = Webhook(
    uuid=Uuid("00000000-0000-4000-8000-000000000555"),
    name="chat",
    url="https://chat.example.com/x",
    secret="0123456789abcdef",
)
BUNDLES = (_bundle(1), _bundle(2))
ROLLOUT = Rollout(uuid=CLUSTER, name="hooks", everywhere=1)
DEFINITION = bundles.of_os("mine")
VERSIONS = (_bundle(1, DEFINITION), _bundle(2, DEFINITION))


def first_bundle_there(cluster: FakeCluster) -> None:
    """All nodes have the first one, and node 2 a script of its own."""
    for node in cluster.world.nodes.values():
        node.bundles_of(HOOKS).install(
            BundleInstall(sha256=BUNDLES[0].sha256, packed=BUNDLES[0].packed)
        )
    cluster.world.nodes[node_uuid(2)].bundles_of(HOOKS).local.add("instance-add-pre.d/20-2")


def definition_by_hand(cluster: FakeCluster) -> None:
    """Node 2 has a definition of that name already."""
    cluster.world.nodes[node_uuid(2)].bundles_of(DEFINITION).local.add("mine")


def switched_off(cluster: FakeCluster) -> None:
    """The script that node 2 has alone is switched off everywhere."""
    first_bundle_there(cluster)
    order = HookSwitch(scripts=("instance-add-pre.d/20-2",), enabled=False, since=1.0)
    for node in cluster.world.nodes.values():
        node._switch(order)


ADD: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new.example.com",
    "os_type": "noop",
    "pnode": "node2",
    "mode": "create",
}

SITUATIONS: tuple[Situation, ...] = (
    *MIRRORED,
    Situation(name="dummy", op={"OP_ID": "OP_TEST_DUMMY", "result": 1}),
    Situation(
        name="delay on two nodes, twice",
        op={
            "OP_ID": "OP_TEST_DELAY",
            "duration": 0,
            "on_nodes": ("node2", "node3"),
            "repeat": 1,
        },
    ),
    Situation(
        name="start",
        op={"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"},
        objects=(DOWN,),
    ),
    Situation(
        name="start one that runs",
        op={"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="stop",
        op={"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="reboot hard",
        op={"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web1"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="reboot soft",
        op={"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web1", "reboot_type": "soft"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(name="add diskless", op={**ADD, "disk_template": "diskless"}),
    Situation(
        name="add with two disks and a NIC",
        op={**ADD, "disk_template": "file", "disks": ({"size": 128}, {"size": 64}), "nics": ({},)},
    ),
    Situation(
        name="add with a secret",
        op={**ADD, "disk_template": "file", "disks": ({"size": 128},)},
        secrets=({"password": "secret"},),
    ),
    Situation(
        name="add with a script that is not trusted",
        op={**ADD, **APART, "disk_template": "file", "disks": ({"size": 128},)},
        objects=(WITH_IMAGE,),
        prepare=images_there,
        secrets=({"password": "secret"},),
    ),
    Situation(
        name="add with an image and a script that is not trusted",
        op={
            **ADD,
            **APART,
            "disk_template": "file",
            "disks": ({"size": 128},),
            "osparams": GUEST_IMAGE,
        },
        objects=(WITH_IMAGE,),
        prepare=images_there,
    ),
    Situation(
        name="reinstall with an image",
        op={
            "OP_ID": "OP_INSTANCE_REINSTALL",
            "instance_name": "web1",
            "osparams": GUEST_IMAGE,
        },
        objects=(WITH_IMAGE, NAMED),
        prepare=images_there,
        unsure=Unsure.DISKS,
    ),
    Situation(
        name="modify",
        op={
            "OP_ID": "OP_INSTANCE_SET_PARAMS",
            "instance_name": "web1",
            "beparams": {"maxmem": 512, "minmem": 512},
        },
        objects=(DOWN,),
    ),
    Situation(
        name="add a disk and remove one",
        op={
            "OP_ID": "OP_INSTANCE_SET_PARAMS",
            "instance_name": "web1",
            "disks": (("add", -1, {"size": "1G"}), ("remove", 0, {})),
        },
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="add a disk to one that runs, and take one away",
        op={
            "OP_ID": "OP_INSTANCE_SET_PARAMS",
            "instance_name": "web1",
            "disks": (("remove", 1, {}), ("add", -1, {"size": 64})),
            "hotplug": True,
        },
        objects=(UP_WITH_TWO_DISKS,),
        prepare=running_with_two_disks,
    ),
    Situation(
        name="rename",
        op={
            "OP_ID": "OP_INSTANCE_RENAME",
            "instance_name": "web1",
            "new_name": "www.example.com",
        },
        objects=(NAMED,),
        prepare=named_disks_there,
    ),
    Situation(
        name="reinstall",
        op={
            "OP_ID": "OP_INSTANCE_REINSTALL",
            "instance_name": "web1",
            "os_type": "other",
            "osparams": {"dhcp": "yes"},
        },
        objects=(msgspec.structs.replace(NAMED, tags=("a", "gantry:install-failed")),),
        prepare=named_disks_there,
        secrets=({"password": "secret"},),
        unsure=Unsure.DISKS,
    ),
    Situation(
        name="grow a disk",
        op={
            "OP_ID": "OP_INSTANCE_GROW_DISK",
            "instance_name": "web1",
            "disk": 0,
            "amount": "1G",
        },
        objects=(WITH_DISK,),
        prepare=disk_there,
        unsure=Unsure.NODES,
    ),
    Situation(
        name="grow a disk of one that runs",
        op={
            "OP_ID": "OP_INSTANCE_GROW_DISK",
            "instance_name": "web1",
            "disk": "sda",
            "amount": 256,
            "absolute": True,
        },
        objects=(UP_WITH_DISK,),
        prepare=running_with_disk,
        unsure=Unsure.NODES,
    ),
    Situation(
        name="recreate disks",
        op={"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1"},
        objects=(WITH_DISK,),
        unsure=Unsure.NODES,
    ),
    Situation(
        name="recreate disks on another node",
        op={
            "OP_ID": "OP_INSTANCE_RECREATE_DISKS",
            "instance_name": "web1",
            "disks": ((0, {"size": "256M"}),),
            "nodes": ("node2",),
        },
        objects=(WITH_DISK,),
        unsure=Unsure.NODES,
    ),
    Situation(
        name="activate disks",
        op={"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": "web1"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="deactivate disks",
        op={"OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS", "instance_name": "web1"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="remove",
        op={"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="remove a running one",
        op={"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="failover",
        op={"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node2"},
        objects=(UP_SHARED,),
        prepare=running_on_shared_disk,
    ),
    Situation(
        name="failover of one that is stopped",
        op={"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node3"},
        objects=(WITH_SHARED,),
        prepare=shared_disk_there,
    ),
    Situation(
        name="failover from a node that is marked offline",
        op={"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node2"},
        objects=(msgspec.structs.replace(UP_SHARED, primary_node=node_uuid(3)), OFFLINE3),
        prepare=shared_disk_there,
    ),
    Situation(
        name="migrate",
        op={"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "target_node": "node2"},
        objects=(UP_SHARED,),
        prepare=running_on_shared_disk,
    ),
    Situation(
        name="migrate with its disk",
        op={"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "target_node": "node3"},
        objects=(UP_WITH_DISK,),
        prepare=running_with_disk,
    ),
    Situation(
        name="migrate one that is stopped, by failing it over",
        op={
            "OP_ID": "OP_INSTANCE_MIGRATE",
            "instance_name": "web1",
            "target_node": "node2",
            "allow_failover": True,
        },
        objects=(WITH_SHARED,),
        prepare=shared_disk_there,
    ),
    Situation(
        name="move",
        op={"OP_ID": "OP_INSTANCE_MOVE", "instance_name": "web1", "target_node": "node2"},
        objects=(UP_WITH_DISK,),
        prepare=running_with_disk,
    ),
    Situation(
        name="move one that is stopped",
        op={"OP_ID": "OP_INSTANCE_MOVE", "instance_name": "web1", "target_node": "node3"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="migrate all of a node that has none",
        op={"OP_ID": "OP_NODE_MIGRATE", "node_name": "node2"},
        objects=(DOWN,),
    ),
    Situation(
        name="evacuate a node that has none",
        op={"OP_ID": "OP_NODE_EVACUATE", "node_name": "node2", "mode": "primary-only"},
        objects=(DOWN,),
    ),
    Situation(
        name="write down where it runs",
        op={"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "cleanup": True},
        objects=(UP_SHARED,),
        prepare=lost,
    ),
    Situation(
        name="export",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node2",
            "checksums": True,
        },
        objects=(WITH_DISK,),
        prepare=exported_before,
    ),
    Situation(
        name="export one that runs, and remove it",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node1",
            "remove_instance": True,
        },
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="export one that runs",
        op={"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1", "target_node": "node2"},
        objects=(UP,),
        prepare=running,
    ),
    Situation(
        name="export one that goes on running",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node2",
            "shutdown": False,
        },
        objects=(UP_WITH_DISK,),
        prepare=running_with_disk,
    ),
    Situation(
        name="export one that goes on running, as the first point of a chain",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node2",
            "incremental": True,
        },
        objects=(UP_WITH_DISK,),
        prepare=running_with_disk,
    ),
    Situation(
        name="export what has changed",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node2",
            "incremental": True,
        },
        objects=(UP_WITH_DISK,),
        prepare=chain_there,
    ),
    Situation(
        name="export one in which nothing has changed",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "web1",
            "target_node": "node2",
            "incremental": True,
        },
        objects=(WITH_DISK,),
        prepare=nothing_new,
    ),
    Situation(
        name="remove a point of an export",
        op={"OP_ID": "OP_BACKUP_REMOVE", "instance_name": "web1", "point": 1},
        objects=(UP_WITH_DISK,),
        prepare=chain_there,
    ),
    Situation(
        name="import",
        op={
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "import",
            "instance_name": "new.example.com",
            "src_node": "node3",
            "src_path": "web7.example.com",
            "pnode": "node2",
        },
        prepare=exported_on_node_3,
    ),
    Situation(
        name="import and start, from wherever it is",
        op={
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "import",
            "instance_name": "web7.example.com",
            "start": True,
        },
        prepare=exported_on_node_3,
    ),
    Situation(
        name="verify an export",
        op={
            "OP_ID": "OP_BACKUP_VERIFY",
            "instance_name": "web7.example.com",
            "node_name": "node3",
        },
        prepare=exported_on_node_3,
    ),
    Situation(
        name="remove an export",
        op={"OP_ID": "OP_BACKUP_REMOVE", "instance_name": "web7.example.com"},
        prepare=exported_on_node_3,
    ),
    Situation(
        name="tag",
        op={"OP_ID": "OP_TAGS_SET", "kind": "instance", "name": "web1", "tags": ("a", "b")},
        objects=(DOWN,),
    ),
    Situation(
        name="untag",
        op={"OP_ID": "OP_TAGS_DEL", "kind": "instance", "name": "web1", "tags": ("a",)},
        objects=(instance(1, tags=("a",)),),
    ),
    Situation(
        name="webhook add",
        op={"OP_ID": "OP_WEBHOOK_ADD", "name": "chat", "events": ("job:error",)},
        secrets=({"url": "https://chat.example.com/x", "secret": "0123456789abcdef"},),
    ),
    Situation(
        name="webhook remove",
        op={"OP_ID": "OP_WEBHOOK_REMOVE", "name": "chat"},
        objects=(WEBHOOK,),
    ),
    Situation(
        name="push a bundle",
        op={"OP_ID": "OP_HOOK_PUSH", "bundle": 2, "replace": True},
        objects=(*BUNDLES, ROLLOUT),
        prepare=first_bundle_there,
    ),
    Situation(
        name="push the first bundle to one node",
        op={"OP_ID": "OP_HOOK_PUSH", "bundle": 1, "node_names": ("node2",)},
        objects=BUNDLES,
    ),
    Situation(
        name="push an OS definition",
        op={"OP_ID": "OP_OS_PUSH", "os_name": "mine", "bundle": 2, "replace": True},
        objects=(*BUNDLES, ROLLOUT, *VERSIONS),
        prepare=definition_by_hand,
    ),
    Situation(
        name="take a bundle away",
        op={"OP_ID": "OP_HOOK_PUSH"},
        objects=(*BUNDLES, ROLLOUT),
        prepare=first_bundle_there,
    ),
    Situation(
        name="switch a script off",
        op={"OP_ID": "OP_HOOK_SWITCH", "scripts": ("20-2",), "enabled": False, "because": "broken"},
        objects=(*BUNDLES, ROLLOUT),
        prepare=first_bundle_there,
    ),
    Situation(
        name="switch a script on again",
        op={"OP_ID": "OP_HOOK_SWITCH", "scripts": ("20-2",), "enabled": True},
        objects=(*BUNDLES, ROLLOUT),
        prepare=switched_off,
    ),
    Situation(name="cluster modify", op={"OP_ID": "OP_CLUSTER_SET_PARAMS", "hooks_version": 2}),
    Situation(name="cluster verify", op={"OP_ID": "OP_CLUSTER_VERIFY"}, objects=(DOWN,)),
    Situation(
        name="cluster verify-disks",
        op={"OP_ID": "OP_CLUSTER_VERIFY_DISKS"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="cluster repair",
        op={"OP_ID": "OP_CLUSTER_FIND_REPAIRS"},
        objects=(WITH_DISK,),
        prepare=disk_there,
    ),
    Situation(
        name="master failover",
        op={"OP_ID": "OP_MASTER_FAILOVER", "node_name": "node2.example.com"},
    ),
    Situation(name="master takeover", op={"OP_ID": "OP_MASTER_TAKEOVER"}, objects=(TAKEN_OVER,)),
    Situation(name="cluster destroy", op={"OP_ID": "OP_CLUSTER_DESTROY"}, nodes=1),
    Situation(
        name="node add",
        op={"OP_ID": "OP_NODE_ADD", "node_name": "node4.example.com"},
        objects=(MACHINE,),
        prepare=joined,
    ),
    Situation(
        name="node join",
        op={
            "OP_ID": "OP_NODE_JOIN",
            "secret_hash": "5" * 64,
            "node_uuid": JOINING,
            "primary_ip": "127.1.0.4",
        },
        objects=(TOKEN,),
    ),
    Situation(
        name="token",
        op={
            "OP_ID": "OP_TOKEN_CREATE",
            "node_name": "node4.example.com",
            "secret_hash": "5" * 64,
        },
    ),
    Situation(name="node remove", op={"OP_ID": "OP_NODE_REMOVE", "node_name": "node3"}),
    Situation(
        name="node end-guest",
        op={"OP_ID": "OP_NODE_END_GUEST", "node_name": "node2", "guest": "web9.example.com"},
        prepare=stranger,
    ),
    Situation(
        name="power off",
        op={"OP_ID": "OP_OOB_COMMAND", "command": "power-off", "node_names": ("node2", "node3")},
        objects=(WITH_OOB,),
        prepare=oob_program_there,
        unsure=Unsure.MACHINES,
    ),
    Situation(
        name="power status",
        op={"OP_ID": "OP_OOB_COMMAND", "command": "power-status"},
        objects=(WITH_OOB,),
        prepare=oob_program_there,
    ),
    Situation(
        name="node modify",
        op={"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "drained": True},
    ),
)
