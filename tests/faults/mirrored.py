"""Situations of instances with mirrored disks, and what must hold of their replicas always."""

from __future__ import annotations

from typing import Any

import msgspec
from tests.fakes.cluster import FakeCluster, entities, instance_uuid, node_uuid
from tests.fakes.export_files import exported
from tests.fakes.replicas import FakeReplica
from tests.fakes.world import FakeDisk
from tests.faults.situation import Situation, Unsure
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, SYNCING, mirror, mirrored

from gantry.model.backup_orders import Peer
from gantry.model.entities import AdminState, Cluster, DiskTemplate, Instance
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart
from gantry.model.replica_orders import DisksActivate
from gantry.model.specs import MirrorTarget
from gantry.operations.steps import specs

NODE1, NODE2, NODE3 = (node_uuid(number) for number in (1, 2, 3))
WEB = instance_uuid(1)
DOWN = mirrored()
UP = mirrored(admin_state=AdminState.UP)
FILE = msgspec.structs.replace(DISK, template=DiskTemplate.FILE, generation=0)
AS_FILE = mirrored(disk_template=DiskTemplate.FILE, disks=(FILE,), secondary_nodes=())
FILE_UP = msgspec.structs.replace(AS_FILE, admin_state=AdminState.UP)
SECOND = msgspec.structs.replace(
    DISK,
    uuid=Uuid("00000000-0000-4000-8000-000000000778"),
    path="/srv/ganeti/file-storage/web1.example.com/disk1",
)
TWO_UP = msgspec.structs.replace(UP, disks=(DISK, SECOND))
NAMED = {"instance_name": "web1"}


def disks_there(cluster: FakeCluster) -> None:
    """The replicas on nodes 1 and 2 are the same."""
    for number in (1, 2):
        node = cluster.world.nodes[node_uuid(number)]
        node.disks[DISK.path] = FakeDisk(specs.disk(0, DISK), "kept")
        node.replicas.found[DISK.path] = FakeReplica(DISK.uuid, 1, IN_SYNC)


def exported_on_node_3(cluster: FakeCluster) -> None:
    """An export of web7."""
    cluster.world.nodes[NODE3].exports.whole["web7.example.com"] = exported("dump0")


def file_there(cluster: FakeCluster) -> None:
    """The disk is a file on node 1."""
    node = cluster.world.nodes[NODE1]
    node.disks[DISK.path] = FakeDisk(specs.disk(0, FILE), "kept")


def file_running(cluster: FakeCluster) -> None:
    """web1 runs on node 1 with a file."""
    file_there(cluster)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    cluster.world.nodes[NODE1]._start(GuestStart(spec=specs.guest(settings, FILE_UP)))


def two_running(cluster: FakeCluster) -> None:
    """web1 runs on node 1 with two disks, mirrored to node 2."""
    targets = []
    for index, disk in enumerate((DISK, SECOND)):
        for number in (1, 2):
            node = cluster.world.nodes[node_uuid(number)]
            node.disks[disk.path] = FakeDisk(specs.disk(index, disk), "kept")
            node.replicas.found[disk.path] = FakeReplica(disk.uuid, 1, IN_SYNC)
        two = cluster.world.nodes[NODE2].replicas.found[disk.path]
        two.served, two.clean = Peer(node=NODE1, name="node1", host="127.1.0.1"), False
        two.host, two.port = "127.1.0.2", 40000 + index
        targets.append(
            MirrorTarget(node=NODE2, name="node2.example.com", host=two.host, port=two.port)
        )
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    spec = specs.guest(settings, TWO_UP)
    disks = tuple(
        msgspec.structs.replace(disk, targets=(target,))
        for disk, target in zip(spec.disks, targets, strict=True)
    )
    order = GuestStart(spec=msgspec.structs.replace(spec, disks=disks))
    cluster.world.nodes[NODE1]._start(order)


def running(cluster: FakeCluster) -> None:
    """web1 runs on node 1, mirrored to node 2."""
    disks_there(cluster)
    two = cluster.world.nodes[NODE2].replicas.found[DISK.path]
    two.served, two.clean = Peer(node=NODE1, name="node1", host="127.1.0.1"), False
    two.host, two.port = "127.1.0.2", 40000
    target = MirrorTarget(node=NODE2, name="node2.example.com", host="127.1.0.2", port=40000)
    _start(cluster, target)


def active(cluster: FakeCluster) -> None:
    """The disks of web1 are mirrored without a guest."""
    disks_there(cluster)
    two = cluster.world.nodes[NODE2].replicas.found[DISK.path]
    two.served, two.clean = Peer(node=NODE1, name="node1", host="127.1.0.1"), False
    two.host, two.port = "127.1.0.2", 40000
    target = MirrorTarget(node=NODE2, name="node2.example.com", host="127.1.0.2", port=40000)
    disk = msgspec.structs.replace(specs.disk(0, DISK), targets=(target,))
    order = DisksActivate(guest=WEB, name=DOWN.name, disks=(disk,))
    cluster.world.nodes[NODE1].replicas.orders[DisksActivate](order)


def running_alone(cluster: FakeCluster) -> None:
    """web1 runs on node 1; the replica on node 2 has fallen behind."""
    disks_there(cluster)
    cluster.world.nodes[NODE2].disks[DISK.path].content = "old"
    _start(cluster)


def _start(cluster: FakeCluster, *targets: MirrorTarget) -> None:
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    spec = specs.guest(settings, UP)
    disk = msgspec.structs.replace(spec.disks[0], targets=targets)
    cluster.world.nodes[NODE1]._start(GuestStart(spec=msgspec.structs.replace(spec, disks=(disk,))))


def crashed(cluster: FakeCluster) -> None:
    """The primary was not closed in order: the others may differ."""
    disks_there(cluster)
    cluster.world.nodes[NODE1].replicas.found[DISK.path].clean = False
    cluster.world.nodes[NODE2].disks[DISK.path].content = "a little less"


def node_lost(cluster: FakeCluster) -> None:
    """Node 1 is off for ever."""
    running(cluster)
    cluster.world.nodes[NODE1].reboot()
    cluster.agents.disconnect(cluster.world.nodes[NODE1])


def _op(code: str, **fields: Any) -> dict[str, Any]:
    return {"OP_ID": f"OP_INSTANCE_{code}", **NAMED, **fields}


ADD: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new.example.com",
    "os_type": "noop",
    "disk_template": "mirror",
    "disks": ({"size": 128}, {"size": 64}),
    "pnode": "node2",
    "snode": "node3",
}
IMPORT: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "mode": "import",
    "instance_name": "web7.example.com",
    "disk_template": "mirror",
    "pnode": "node1",
    "snode": "node2",
}
IN_STEP, BEHIND = mirror(), mirror(STALE)
SECOND_IN_STEP = msgspec.structs.replace(mirror(), uuid=SECOND.uuid, name=SECOND.uuid)

MIRRORED: tuple[Situation, ...] = (
    Situation(
        name="verify disks",
        op={"OP_ID": "OP_CLUSTER_VERIFY_DISKS"},
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(name="add mirrored", op=ADD),
    Situation(
        name="start mirrored",
        op=_op("STARTUP"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="start mirrored after a crash",
        op=_op("STARTUP"),
        objects=(UP, IN_STEP),
        prepare=crashed,
    ),
    Situation(name="stop mirrored", op=_op("SHUTDOWN"), objects=(UP, IN_STEP), prepare=running),
    Situation(name="reboot mirrored", op=_op("REBOOT"), objects=(UP, IN_STEP), prepare=running),
    Situation(name="remove mirrored", op=_op("REMOVE"), objects=(UP, IN_STEP), prepare=running),
    Situation(
        name="rename mirrored",
        op=_op("RENAME", new_name="www.example.com"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="reinstall mirrored",
        op=_op("REINSTALL"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
        unsure=Unsure.DISKS,
    ),
    Situation(name="failover mirrored", op=_op("FAILOVER"), objects=(UP, IN_STEP), prepare=running),
    Situation(
        name="migrate mirrored",
        op=_op("MIGRATE", target_node="node2"),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="failover mirrored, stopped",
        op=_op("FAILOVER", target_node="node2"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="sync disks",
        op=_op("SYNC_DISKS"),
        objects=(UP, BEHIND),
        prepare=running_alone,
    ),
    Situation(
        name="add mirror",
        op=_op("ADD_MDDRBD", disk_name="sda", remote_node="node3"),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="add mirror to a stopped one",
        op=_op("ADD_MDDRBD", disk_name=0, remote_node="node3"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="replace a mirror by one elsewhere",
        op=_op("REPLACE_DISKS", mode="replace_new_secondary", remote_node="node3"),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="replace a mirror where it is",
        op=_op("REPLACE_DISKS", mode="replace_on_secondary"),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="replace a mirror where it is, and wait",
        op=_op("REPLACE_DISKS", mode="replace_on_secondary", wait_for_sync=True),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="replace a mirror of a stopped one",
        op=_op("REPLACE_DISKS", mode="replace_auto"),
        objects=(DOWN, BEHIND),
        prepare=disks_there,
    ),
    Situation(
        name="activate mirrored disks",
        op=_op("ACTIVATE_DISKS"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="activate mirrored disks and wait",
        op=_op("ACTIVATE_DISKS", wait_for_sync=True),
        objects=(DOWN, mirror(SYNCING)),
        prepare=disks_there,
    ),
    Situation(
        name="deactivate mirrored disks",
        op=_op("DEACTIVATE_DISKS"),
        objects=(DOWN, IN_STEP),
        prepare=active,
    ),
    Situation(
        name="start with active mirrored disks",
        op=_op("STARTUP"),
        objects=(DOWN, IN_STEP),
        prepare=active,
    ),
    Situation(
        name="mirror a file",
        op=_op("SET_PARAMS", disk_template="mirror", remote_node="node2"),
        objects=(AS_FILE,),
        prepare=file_there,
    ),
    Situation(
        name="a mirrored disk becomes a file",
        op=_op("SET_PARAMS", disk_template="file"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="mirror a file of one that runs",
        op=_op("SET_PARAMS", disk_template="mirror", remote_node="node2"),
        objects=(FILE_UP,),
        prepare=file_running,
    ),
    Situation(
        name="a mirrored disk of one that runs becomes a file",
        op=_op("SET_PARAMS", disk_template="file"),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="two mirrored disks of one that runs become files",
        op=_op("SET_PARAMS", disk_template="file"),
        objects=(TWO_UP, IN_STEP, SECOND_IN_STEP),
        prepare=two_running,
    ),
    Situation(
        name="a mirrored disk more of one that runs",
        op=_op("SET_PARAMS", disks=(("add", -1, {"size": 64}),), hotplug=True),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
    Situation(
        name="a mirrored disk less of one that runs",
        op=_op("SET_PARAMS", disks=(("remove", -1),), hotplug=True),
        objects=(TWO_UP, IN_STEP, SECOND_IN_STEP),
        prepare=two_running,
    ),
    Situation(
        name="a mirrored disk more",
        op=_op("SET_PARAMS", disks=(("add", -1, {"size": 64}),)),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="another mirrored disk instead",
        op=_op("SET_PARAMS", disks=(("add", -1, {"size": 64}), ("remove", 0))),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
    ),
    Situation(
        name="recreate mirrored disks",
        op=_op("RECREATE_DISKS", disks=((0, {"size": "256M"}),)),
        objects=(DOWN, BEHIND),
        tolerated=("0/create-disk/0/node2",),
    ),
    Situation(name="import to mirrored disks", op=IMPORT, prepare=exported_on_node_3),
    Situation(
        name="import to mirrored disks and start",
        op={**IMPORT, "start": True},
        prepare=exported_on_node_3,
    ),
    Situation(
        name="grow a mirrored disk",
        op=_op("GROW_DISK", disk=0, amount="1G"),
        objects=(DOWN, IN_STEP),
        prepare=disks_there,
        keeps=True,
    ),
    Situation(
        name="grow a mirrored disk of one that runs",
        op=_op("GROW_DISK", disk="sda", amount=256, absolute=True),
        objects=(UP, IN_STEP),
        prepare=running,
        keeps=True,
    ),
    Situation(
        name="remove mirror",
        op=_op("REMOVE_MDDRBD", disk_name="sda", disk_id=1),
        objects=(UP, IN_STEP),
        prepare=running,
    ),
)


def keeps_its_promise(cluster: FakeCluster) -> None:
    """What the store calls in sync is: the same, of the right generation, and mirrored to."""
    snapshot = cluster.engine.snapshot()
    for instance in snapshot.instances.values():
        having: set[Uuid] = set()
        for disk in instance.disks:
            if disk.uuid in snapshot.mirrors:
                _disk(cluster, instance, disk.uuid, disk.path, disk.generation)
                having |= set(snapshot.mirrors[disk.uuid].replicas)
        if having:
            assert having == {instance.primary_node, *instance.secondary_nodes}
    for one in snapshot.mirrors.values():
        assert one.instance in snapshot.instances
    assert [one for node in cluster.world.nodes.values() for one in node.replicas.broken] == []


def _disk(cluster: FakeCluster, instance: Instance, disk: Uuid, path: str, number: int) -> None:
    replicas = cluster.engine.snapshot().mirrors[disk].replicas
    home = cluster.world.nodes[instance.primary_node]
    assert replicas[instance.primary_node].state is IN_SYNC
    if path not in home.disks and path not in home.replicas.found:
        return  # it was lost before
    own = home.replicas.found[path]
    size = next(one.size for one in instance.disks if one.uuid == disk)
    # One that was promoted in the store may not have heard of it yet: the next start tells it.
    assert own.generation in (number, number - 1)
    guest = home.guests.get(instance.uuid)
    up = guest is not None and guest.live.up
    mirrored_to = {one.node for one in guest.live.mirrors if one.disk == disk} if guest else set()
    for uuid, replica in replicas.items():
        if uuid == instance.primary_node or replica.state is not IN_SYNC:
            continue
        node = cluster.world.nodes[uuid]
        record = node.replicas.found[path]
        assert node.disks[path].spec.size <= size, f"larger than it should be on {node.name}"
        assert not record.reserved or node.disks[path].spec.size < size, "room that nobody needs"
        # One that was made ready for its primary's change may not have heard that it has come.
        ready = record.next.disk.generation if record.next is not None else number
        assert number in (record.generation, ready), f"on {node.name}"
        assert record.state is IN_SYNC, f"on {node.name}"
        assert node.disks[path].content == home.disks[path].content or not own.clean
        assert not up or uuid in mirrored_to, f"in sync, and nothing is mirrored to {node.name}"
