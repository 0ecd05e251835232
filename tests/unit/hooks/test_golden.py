"""Every operation tells its scripts what Ganeti tells them, on the same nodes.

Each case is an operation that a fake cluster carries out as the real one did; what its agents
were ordered to run is compared with the dumps. Every difference is one of those that the hook
interface names (section 5, "What we do"), and is listed here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from tests.fakes.cluster import CLUSTER, FakeCluster, entities, node_uuid
from tests.fakes.world import NOOP, FakeDisk, FakeNode

from gantry.hooks.entry import Phase
from gantry.hooks.plan import phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import export_config
from gantry.model.entities import (
    AdminState,
    AnyEntity,
    Cluster,
    Disk,
    DiskTemplate,
    HypervisorName,
    Instance,
    Joined,
    Nic,
    NicMode,
    Node,
)
from gantry.model.jobs import JobStatus
from gantry.model.live import OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart
from gantry.model.snapshot import Snapshot, build
from gantry.operations.steps import exporting, specs

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "hooks"

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC: Final = re.compile(r"aa:00:00(:[0-9a-f]{2}){3}")
_ADDRESS: Final = re.compile(r"(10\.99|127\.1)\.0\.")

ADDED: Final = re.compile(
    r"GANETI_(POST_)?(?:"
    r"OP_ID"  # 3
    r"|MEM_SIZE"  # 9
    r"|VCPUS|DISK_TEMPLATE|INSTANCE_DISK_TYPE|INSTANCE_OS"  # 10
    r"|DISK_SIZE|SWAP_SIZE|INSTANCE_DISK_SIZE"  # 11
    r"|INSTANCE_IP"  # 12
    r"|INSTANCE_SECONDARY"  # 13
    r"|INSTANCE_ADD_MODE|SRC_IMAGE"  # 14
    r"|NODE_TAGS_[a-z0-9]+_[a-z0-9_]+"  # 28
    r"|INSTANCE_DISK_SIZES"  # 33
    r")"
)
"""What a script gets beside Ganeti's variables, by row of the interface's section 5."""
ADDED_IN_ADD: Final = re.compile(r"GANETI_(POST_)?INSTANCE_DISK\d+_DEV_TYPE")
"""Row 33: sent in instance-add too."""

ADDED_RUNS: Final = {
    "instance-shutdown-pre.d",  # 5: always read
    "instance-shutdown-post.d",
    "config-update-post.d",  # 38: Ganeti misses most changes of the configuration
}

Environment = dict[str, str]
Seen = dict[tuple[str, str], Environment]
"""By node and directory."""


def golden(case: str) -> Seen:
    """What the scripts of a case saw."""
    found: Seen = {}
    for path in sorted((GOLDEN / case).glob("*.txt")):
        _, node, directory = path.stem.split("-", 2)
        _, _, after = path.read_text().partition("[env] order as received\n")
        lines = after.splitlines()[:-1]
        found[f"{node}.example.com", directory] = dict(line.split("=", 1) for line in lines)
    return found


def ours(cluster: FakeCluster) -> Seen:
    """What the scripts of the fake cluster would have seen."""
    return {
        (node.name, directory.name): run.environments[str(directory.version)]
        for node in cluster.world.nodes.values()
        for run in node.hook_runs
        for directory in run.directories
    }


def normal(environment: Environment) -> Environment:
    """Without what differs from run to run."""
    return {
        name: _ADDRESS.sub("net.", _MAC.sub("mac", _UUID.sub("uuid", value)))
        for name, value in environment.items()
    }


def compare(seen: Seen, expected: Seen) -> None:
    """Fail where a run, a variable or a value differs otherwise than the interface says."""
    extra = {key for key in seen if key not in expected}
    own = {directory for _, directory in extra if not directory.endswith("-fail.d")}
    assert not own - ADDED_RUNS
    assert expected.keys() <= seen.keys()
    for key, theirs in expected.items():
        mine = normal(seen[key])
        added = mine.keys() - theirs.keys()
        known = {name for name in added if ADDED.fullmatch(name)}
        if theirs["GANETI_OP_CODE"] == "OP_INSTANCE_CREATE":
            known |= {name for name in added if ADDED_IN_ADD.fullmatch(name)}
        assert added == known, key
        assert {name: mine.get(name) for name in theirs} == normal(theirs), key


def file_disk(number: int, size: int, owner: str = "web2.example.com") -> Disk:
    uuid = f"00000000-0000-4000-8000-0000000007{number:02d}"
    return Disk(
        uuid=Uuid(uuid),
        size=size,
        template=DiskTemplate.FILE,
        path=f"/srv/ganeti/file-storage/{owner}/{uuid}.file.disk{number}",
    )


def nic(number: int, ip: str | None = None) -> Nic:
    return Nic(
        uuid=Uuid(f"00000000-0000-4000-8000-0000000008{number:02d}"),
        mac=f"aa:00:00:00:00:{number:02d}",
        mode=NicMode.BRIDGED,
        link="br0",
        ip=ip,
    )


def web(name: str = "web2.example.com", **changes: Any) -> Instance:
    """The instance that most cases are about."""
    fields: dict[str, Any] = {
        "uuid": Uuid("00000000-0000-4000-8000-000000000602"),
        "name": name,
        "primary_node": node_uuid(1),
        "os": "capture+default",
        "hypervisor": HypervisorName.FAKE,
        "beparams": {"minmem": 64, "maxmem": 64, "vcpus": 1},
        "disk_template": DiskTemplate.FILE,
        "disks": (file_disk(0, 64, name),),
        "nics": (nic(0),),
        **changes,
    }
    return Instance(**fields)


BIG: Final = {"minmem": 96, "maxmem": 96, "vcpus": 3}
UP: Final = {"admin_state": AdminState.UP}
CAPTURE: Final = OsFacts(
    name="capture",
    path="/srv/ganeti/os/capture",
    variants=("default", "special"),
    parameters=(("release", "which"), ("role", "what")),
    api_versions=(20,),
    digest="capture",
)
JOINING: Final = Joined(
    uuid=node_uuid(3), name="node3.example.com", primary_ip="127.1.0.3", port=1811
)


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One command: the directory of its dumps, the operation, the cluster before it."""

    golden: str
    op: dict[str, Any]
    objects: tuple[AnyEntity, ...] = ()
    nodes: int = 3
    joining: bool = False


CASES: Final = (
    Case(
        golden="01-instance-add-diskless",
        op={
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "create",
            "instance_name": "diskless1.example.com",
            "disk_template": "diskless",
            "os_type": "noop",
            "no_install": True,
            "pnode": "node1.example.com",
            "beparams": {"memory": 64, "vcpus": 1},
            "nics": [{"ip": "10.99.1.50", "mac": "aa:00:00:11:22:33", "link": "br0"}],
        },
    ),
    Case(
        golden="02-instance-add-file",
        op={
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "create",
            "instance_name": "web1.example.com",
            "disk_template": "file",
            "disks": [{"size": 64, "name": "root"}, {"size": 32, "mode": "ro"}],
            "os_type": "capture+special",
            "osparams": {"release": "bookworm", "role": "web"},
            "pnode": "node2.example.com",
            "beparams": {"minmem": 64, "maxmem": 128, "vcpus": 2},
            "nics": [{"ip": "10.99.1.1", "name": "front"}, {"mode": "bridged", "link": "br0"}],
            "tags": ["env:prod", "tier:1"],
        },
    ),
    Case(
        golden="04-instance-start",
        op={"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web2"},
        objects=(web(),),
    ),
    Case(
        golden="05-instance-reboot",
        op={"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web2", "reboot_type": "hard"},
        objects=(web(**UP),),
    ),
    Case(
        golden="06-instance-stop",
        op={"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web2"},
        objects=(web(**UP),),
    ),
    Case(
        golden="07-instance-modify-be",
        op={
            "OP_ID": "OP_INSTANCE_SET_PARAMS",
            "instance_name": "web2",
            "beparams": {"memory": 96, "vcpus": 3},
            "osparams": {"release": "trixie"},
        },
        objects=(web(),),
    ),
    Case(
        golden="08-instance-modify-net",
        op={
            "OP_ID": "OP_INSTANCE_SET_PARAMS",
            "instance_name": "web2",
            "nics": [["add", -1, {"link": "br0", "ip": "10.99.1.77"}]],
        },
        objects=(web(beparams=BIG),),
    ),
    Case(
        golden="11-instance-reinstall",
        op={
            "OP_ID": "OP_INSTANCE_REINSTALL",
            "instance_name": "web2",
            "os_type": "capture+special",
        },
        objects=(
            web(
                beparams=BIG,
                disks=(file_disk(0, 96), file_disk(1, 32)),
                nics=(nic(0), nic(1, "10.99.1.77")),
            ),
        ),
    ),
    Case(
        golden="52-instance-rename",
        op={
            "OP_ID": "OP_INSTANCE_RENAME",
            "instance_name": "web2",
            "new_name": "db1.example.com",
        },
        objects=(web(),),
    ),
    Case(golden="21-cluster-verify", op={"OP_ID": "OP_CLUSTER_VERIFY"}),
    Case(
        golden="22-cluster-modify",
        op={"OP_ID": "OP_CLUSTER_SET_PARAMS", "candidate_pool_size": 5},
    ),
    Case(
        golden="23-node-modify-offline",
        op={
            "OP_ID": "OP_NODE_SET_PARAMS",
            "node_name": "node3",
            "offline": True,
            "powered_off": True,
        },
    ),
    Case(
        golden="39-instance-remove-file",
        op={"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web2"},
        objects=(
            web(
                os="capture+special",
                beparams=BIG,
                disks=(file_disk(0, 96), file_disk(1, 32)),
                nics=(nic(0), nic(1, "10.99.1.77")),
            ),
        ),
    ),
    Case(
        golden="53-instance-export-stopped",
        op={
            "OP_ID": "OP_BACKUP_EXPORT",
            "instance_name": "db1.example.com",
            "target_node": "node1.example.com",
        },
        objects=(web("db1.example.com"),),
    ),
    Case(
        golden="71-node-remove",
        op={"OP_ID": "OP_NODE_REMOVE", "node_name": "node3"},
    ),
    Case(
        golden="72-node-add",
        op={"OP_ID": "OP_NODE_ADD", "node_name": "node3.example.com"},
        objects=(JOINING,),
        nodes=2,
        joining=True,
    ),
    Case(
        golden="a2-post-hook-fails",
        op={"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web9"},
        objects=(web("web9.example.com", **UP),),
    ),
    Case(golden="a3-verify-hook-fails", op={"OP_ID": "OP_CLUSTER_VERIFY"}),
    Case(golden="d9-cluster-destroy", op={"OP_ID": "OP_CLUSTER_DESTROY"}, nodes=1),
)


def furnish(cluster: FakeCluster, objects: tuple[AnyEntity, ...]) -> None:
    """The nodes have what the instances need: definitions, disks, running guests."""
    for node in cluster.world.nodes.values():
        node.oses = (NOOP, CAPTURE)
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    for one in objects:
        if isinstance(one, Instance):
            node = cluster.world.nodes[one.primary_node]
            guest = specs.guest(settings, one)
            node.disks |= {disk.path: FakeDisk(disk) for disk in guest.disks}
            if one.admin_state is AdminState.UP:
                node._start(GuestStart(spec=guest))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.golden)
async def test_scripts_are_told_what_ganeti_tells_them(case: Case) -> None:
    cluster = await FakeCluster.make(case.objects, nodes=case.nodes, hooks_version=2)
    try:
        if case.joining:
            cluster.world.add(FakeNode(JOINING.uuid, JOINING.name))
        furnish(cluster, case.objects)
        await cluster.start()
        job = await cluster.run(case.op)
        assert job.status is JobStatus.SUCCESS, job.ops[0]
        compare(ours(cluster), golden(case.golden))
    finally:
        await cluster.close()


def shared_disk(owner: str) -> Disk:
    """A disk that all nodes see."""
    uuid = "00000000-0000-4000-8000-000000000799"
    return Disk(
        uuid=Uuid(uuid),
        size=64,
        template=DiskTemplate.SHAREDFILE,
        path=f"/srv/ganeti/shared-file-storage/{owner}/{uuid}.sharedfile.disk0",
    )


MOVED: Final = (
    Case(
        golden="60-instance-migrate-sharedfile",
        op={
            "OP_ID": "OP_INSTANCE_MIGRATE",
            "instance_name": "web9",
            "target_node": "node2.example.com",
        },
        objects=(
            web(
                "web9.example.com",
                disk_template=DiskTemplate.SHAREDFILE,
                disks=(shared_disk("web9.example.com"),),
                **UP,
            ),
        ),
    ),
    Case(
        golden="61-instance-failover-sharedfile",
        op={
            "OP_ID": "OP_INSTANCE_FAILOVER",
            "instance_name": "web9",
            "target_node": "node2.example.com",
        },
        objects=(
            web(
                "web9.example.com",
                disk_template=DiskTemplate.SHAREDFILE,
                disks=(shared_disk("web9.example.com"),),
                **UP,
            ),
        ),
    ),
)
"""In the cluster that was looked at these failed after their pre scripts."""


@pytest.mark.parametrize("case", MOVED, ids=lambda case: case.golden)
async def test_pre_scripts_of_a_move_are_told_what_ganeti_tells_them(case: Case) -> None:
    cluster = await FakeCluster.make(case.objects, hooks_version=2)
    try:
        furnish(cluster, case.objects)
        for node in cluster.world.nodes.values():
            for one in case.objects:
                assert isinstance(one, Instance)
                node.disks |= {disk.path: FakeDisk(disk) for disk in specs.disks(one)}
        await cluster.start()
        job = await cluster.run(case.op)
        assert job.status is JobStatus.SUCCESS, job.ops[0]
        seen, theirs = ours(cluster), golden(case.golden)
        assert len(theirs) == 2
        pre = {key: told for key, told in seen.items() if key[1].endswith("-pre.d")}
        compare(pre, theirs)
    finally:
        await cluster.close()


async def test_scripts_of_an_import_are_told_what_ganeti_tells_them() -> None:
    cluster = await FakeCluster.make((), hooks_version=2)
    try:
        furnish(cluster, ())
        exported = web()
        whole = cluster_of(exported)
        exports = cluster.world.nodes[node_uuid(1)].exports
        exports.whole[exported.name] = {
            "config.ini": export_config.write(exporting.config(whole, exported, 1.0)),
            exported.disks[0].uuid: "a dump",
        }
        await cluster.start()
        job = await cluster.run(
            {
                "OP_ID": "OP_INSTANCE_CREATE",
                "mode": "import",
                "instance_name": exported.name,
                "src_node": "node1.example.com",
                "pnode": "node1.example.com",
            }
        )
        assert job.status is JobStatus.SUCCESS, job.ops[0]
        expected = golden("76-import")
        added = {key: one for key, one in expected.items() if "instance-add" in key[1]}
        assert len(added) == 2
        compare(ours(cluster), added)
    finally:
        await cluster.close()


def cluster_of(*objects: AnyEntity) -> Snapshot:
    return build(1, [*entities(), *objects])


def test_the_scripts_of_cluster_init_are_told_what_ganeti_tells_them() -> None:
    cluster = Cluster(
        uuid=CLUSTER, name="cluster.example.com", master_node=node_uuid(1), hooks_version=2
    )
    first = [one for one in entities() if isinstance(one, Node)][:1]
    after = build(1, [cluster, *first])
    subject = Subject(kind=SubjectKind.CLUSTER)
    [run] = phase_runs("OP_CLUSTER_POST_INIT", Phase.POST, after, subject, after, subject)
    expected = golden("d1-cluster-init")
    seen = {("node1.example.com", run.directories[0].name): run.environments["2"]}
    compare(
        seen, {key: found for key, found in expected.items() if key[1].startswith("cluster-init")}
    )


async def test_a_denial_reads_as_it_does_in_ganeti() -> None:
    instance = web("web9.example.com", **UP)
    cluster = await FakeCluster.make([instance], hooks_version=2)
    try:
        furnish(cluster, (instance,))
        cluster.world.nodes[node_uuid(1)].add_hook(
            "instance-stop-pre.d",
            "60-fail",
            exit_status=1,
            output="out-line1\nout-line2\nerr-line\n",
        )
        await cluster.start()
        job = await cluster.run({"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web9"})
        compare(ours(cluster), golden("a1-pre-hook-fails"))
    finally:
        await cluster.close()
    theirs = (GOLDEN / "a1-pre-hook-fails/command.err").read_text()
    _, _, said = theirs.rstrip("\n").partition("Failure: ")
    assert job.ops[0].error is not None
    # Row 39: the node by its name.
    assert job.ops[0].error.message == _UUID.sub("node1.example.com", said)
