"""Version 1, row by row, beside the tables of the founding document.

The table below is the document's section 2.6 (and 2.7 for the variables), typed anew and not
derived from ours: M, P and S are the master, the instance's primary and its secondary node.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
from tests.fakes.cluster import entities, instance, node_uuid

from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import ROWS, Phase
from gantry.model.entities import Disk, DiskTemplate, Instance, Nic, NicMode, Node
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build

M, P, S, OTHER = (node_uuid(number) for number in (1, 2, 3, 4))
NEW = node_uuid(5)
MPS = (M, P, S)
THREE = "INSTANCE_NAME INSTANCE_PRIMARY INSTANCE_SECONDARIES"


class Line(msgspec.Struct, frozen=True):
    """A line of the document. ``values`` are what the operation itself tells."""

    op_id: str
    prefix: str
    kind: str
    variables: str
    pre: tuple[Uuid, ...]
    post: tuple[Uuid, ...]
    values: dict[str, Any] = {}


SEED: Final = {
    "OP_CLUSTER_POST_INIT": Line("OP_INIT_CLUSTER", "cluster-init", "CLUSTER", "", (M,), (M,)),
    "OP_MASTER_FAILOVER": Line(
        "OP_MASTER_FAILOVER",
        "master-failover",
        "CLUSTER",
        "OLD_MASTER NEW_MASTER",
        (P,),
        (M, P, S, OTHER),
        {"OLD_MASTER": "node1.example.com", "NEW_MASTER": "node2.example.com"},
    ),
    "OP_NODE_ADD": Line(
        "OP_ADD_NODE",
        "node-add",
        "NODE",
        "NODE_NAME NODE_PIP NODE_SIP",
        (M, P, S, OTHER),
        (M, P, S, OTHER, NEW),
    ),
    "OP_NODE_REMOVE": Line(
        "OP_REMOVE_NODE", "node-remove", "NODE", "NODE_NAME", (M, P, S), (M, P, S)
    ),
    "OP_INSTANCE_CREATE": Line(
        "OP_INSTANCE_ADD",
        "instance-add",
        "INSTANCE",
        f"{THREE} DISK_TEMPLATE MEM_SIZE DISK_SIZE SWAP_SIZE VCPUS INSTANCE_IP INSTANCE_ADD_MODE"
        " SRC_NODE SRC_PATH SRC_IMAGE",
        MPS,
        MPS,
        {
            "ADD_MODE": "import",
            "SRC_NODE": "node1.example.com",
            "SRC_PATH": "/var/lib/ganeti/export/web1",
            "SRC_IMAGES": ["disk0.img", "disk1.img"],
        },
    ),
    "OP_BACKUP_EXPORT": Line(
        "OP_BACKUP_EXPORT",
        "instance-export",
        "INSTANCE",
        "INSTANCE_NAME EXPORT_NODE EXPORT_DO_SHUTDOWN",
        MPS,
        MPS,
        {"EXPORT_NODE": "node4.example.com", "EXPORT_DO_SHUTDOWN": True},
    ),
    "OP_INSTANCE_STARTUP": Line(
        "OP_INSTANCE_START",
        "instance-start",
        "INSTANCE",
        f"{THREE} FORCE",
        MPS,
        MPS,
        {"FORCE": True},
    ),
    "OP_INSTANCE_SHUTDOWN": Line(
        "OP_INSTANCE_SHUTDOWN", "instance-shutdown", "INSTANCE", THREE, MPS, MPS
    ),
    "OP_INSTANCE_SET_PARAMS": Line(
        "OP_INSTANCE_MODIFY",
        "instance-modify",
        "INSTANCE",
        "INSTANCE_NAME MEM_SIZE VCPUS INSTANCE_IP",
        MPS,
        MPS,
    ),
    "OP_INSTANCE_FAILOVER": Line(
        "OP_INSTANCE_FAILOVER",
        "instance-failover",
        "INSTANCE",
        f"{THREE} IGNORE_CONSISTENCY",
        MPS,
        MPS,
        {"IGNORE_CONSISTENCY": True},
    ),
    "OP_INSTANCE_REMOVE": Line(
        "OP_INSTANCE_REMOVE", "instance-remove", "INSTANCE", THREE, (M,), (M,)
    ),
    "OP_INSTANCE_ADD_MDDRBD": Line(
        "OP_INSTANCE_ADD_MDDRBD",
        "mirror-add",
        "INSTANCE",
        "INSTANCE_NAME NEW_SECONDARY DISK_NAME",
        MPS,
        MPS,
        {"NEW_SECONDARY": "node4.example.com", "DISK_NAME": "sda"},
    ),
    "OP_INSTANCE_REMOVE_MDDRBD": Line(
        "OP_INSTANCE_REMOVE_MDDRBD",
        "mirror-remove",
        "INSTANCE",
        "INSTANCE_NAME OLD_SECONDARY DISK_NAME DISK_ID",
        MPS,
        MPS,
        {"OLD_SECONDARY": "node3.example.com", "DISK_NAME": "sda", "DISK_ID": 1},
    ),
    "OP_INSTANCE_REPLACE_DISKS": Line(
        "OP_INSTANCE_REPLACE_DISKS",
        "mirror-replace",
        "INSTANCE",
        "INSTANCE_NAME OLD_SECONDARY NEW_SECONDARY",
        MPS,
        MPS,
        {"OLD_SECONDARY": "node3.example.com", "NEW_SECONDARY": "node3.example.com"},
    ),
    "OP_CLUSTER_VERIFY": Line(
        "OP_CLUSTER_VERIFY", "cluster-verify", "CLUSTER", "", (), (M, P, S, OTHER)
    ),
}
COMMON: Final = "HOOKS_VERSION HOOKS_PHASE CLUSTER MASTER OP_ID OBJECT_TYPE"
EVERY_INSTANCE: Final = "INSTANCE_DISK_TYPE INSTANCE_DISK_SIZE INSTANCE_OS"
TARGETS: Final = {"OP_MASTER_FAILOVER": (P,)}


def cluster(version: int = 1) -> Snapshot:
    return build(1, [*entities(4, hooks_version=version), web()])


def web(**changes: Any) -> Instance:
    disks = tuple(
        Disk(
            uuid=Uuid(f"00000000-0000-4000-8000-00000000070{at}"),
            size=size,
            template=DiskTemplate.FILE,
            path=f"/srv/disk{at}",
        )
        for at, size in enumerate((1024, 256))
    )
    nic = Nic(
        uuid=Uuid("00000000-0000-4000-8000-000000000801"),
        mac="aa:00:00:00:00:01",
        mode=NicMode.BRIDGED,
        link="br0",
        ip="192.0.2.7",
    )
    fields: dict[str, Any] = {
        "secondary_nodes": (S,),
        "disk_template": DiskTemplate.FILE,
        "disks": disks,
        "nics": (nic,),
        "os": "noop",
        "beparams": {"minmem": 64, "maxmem": 512, "vcpus": 2},
        **changes,
    }
    return instance(1, 2, **fields)


def node(opcode: str) -> Node | None:
    """node-add is about a node that is not there yet, node-remove about one that is."""
    known = cluster().nodes[OTHER]
    if opcode == "OP_NODE_ADD":
        return msgspec.structs.replace(known, uuid=NEW, name="node5.example.com")
    return known if opcode == "OP_NODE_REMOVE" else None


def subject(opcode: str, **changes: Any) -> Subject:
    line = SEED[opcode]
    fields: dict[str, Any] = {
        "kind": SubjectKind(line.kind),
        "instance": web() if line.kind == "INSTANCE" else None,
        "node": node(opcode),
        "values": line.values,
        "extra_nodes": TARGETS.get(opcode, ()),
        **changes,
    }
    return Subject(**fields)


def runs(opcode: str, phase: Phase, version: int = 1, **changes: Any) -> tuple[NodeRun, ...]:
    told, whole = subject(opcode, **changes), cluster(version)
    if phase is Phase.PRE:
        return phase_runs(opcode, phase, whole, told)
    return phase_runs(opcode, phase, whole, told, whole, told)


def directories(found: tuple[NodeRun, ...]) -> dict[tuple[str, int], set[Uuid]]:
    read: dict[tuple[str, int], set[Uuid]] = {}
    for run in found:
        for directory in run.directories:
            read.setdefault((directory.name, directory.version), set()).add(run.node)
    return read


def test_the_table_has_the_rows_of_the_document_and_no_other() -> None:
    # A takeover that nobody asked for is told as a failover that somebody did.
    told = {opcode for opcode, row in ROWS.items() if row.seed is not None} - {"OP_MASTER_TAKEOVER"}
    assert told == SEED.keys()


@pytest.mark.parametrize("opcode", SEED)
@pytest.mark.parametrize("phase", [Phase.PRE, Phase.POST])
def test_directory_and_nodes_are_the_documents(opcode: str, phase: Phase) -> None:
    line = SEED[opcode]
    expected = line.pre if phase is Phase.PRE else line.post
    mine = (f"{line.prefix}-{phase.value}.d", 1)
    found = directories(runs(opcode, phase))
    assert found.get(mine, set()) == set(expected)
    # A directory under another name is version 2's, and is read beside it.
    assert all(version == 2 and name != mine[0] for name, version in found.keys() - {mine})


@pytest.mark.parametrize("opcode", SEED)
@pytest.mark.parametrize("phase", Phase)
def test_variables_are_the_documents_and_more(opcode: str, phase: Phase) -> None:
    line = SEED[opcode]
    names = f"{COMMON} {line.variables}"
    if line.kind == "INSTANCE":
        names += f" {EVERY_INSTANCE}"
    for run in runs(opcode, phase):
        if "1" not in run.environments:
            continue
        found = run.environments["1"]
        assert not {f"GANETI_{name}" for name in names.split()} - found.keys()
        assert found["GANETI_HOOKS_VERSION"] == "1"
        assert found["GANETI_HOOKS_PHASE"] == phase.value.upper()
        assert found["GANETI_OP_ID"] == line.op_id
        assert found["GANETI_OBJECT_TYPE"] == line.kind
        assert found["GANETI_CLUSTER"] == "cluster.example.com"
        assert found["GANETI_MASTER"] == "node1.example.com"
        assert found["PATH"] == "/sbin:/bin:/usr/sbin:/usr/bin"


def test_values_of_an_instance_are_the_documents() -> None:
    [run, *_] = runs("OP_INSTANCE_CREATE", Phase.PRE)
    found = run.environments["1"]
    expected = {
        "INSTANCE_NAME": "web1.example.com",
        "INSTANCE_PRIMARY": "node2.example.com",
        "INSTANCE_SECONDARIES": "node3.example.com",
        "INSTANCE_SECONDARY": "node3.example.com",
        "INSTANCE_DISK_TYPE": "file",
        "DISK_TEMPLATE": "file",
        "INSTANCE_DISK_SIZE": "1024",
        "DISK_SIZE": "1024",
        "SWAP_SIZE": "256",
        "MEM_SIZE": "512",
        "VCPUS": "2",
        "INSTANCE_OS": "noop",
        "INSTANCE_IP": "192.0.2.7",
        "INSTANCE_ADD_MODE": "import",
        "SRC_NODE": "node1.example.com",
        "SRC_PATH": "/var/lib/ganeti/export/web1",
        "SRC_IMAGE": "disk0.img",
    }
    assert {name: found[f"GANETI_{name}"] for name in expected} == expected


def test_values_of_a_node_are_those_that_the_operation_is_about() -> None:
    added = node("OP_NODE_ADD")
    assert added is not None
    about = msgspec.structs.replace(added, secondary_ip="192.0.2.5")
    for run in runs("OP_NODE_ADD", Phase.PRE, node=about):
        found = run.environments["1"]
        assert found["GANETI_NODE_NAME"] == about.name
        assert found["GANETI_NODE_PIP"] == about.primary_ip
        assert found["GANETI_NODE_SIP"] == "192.0.2.5"


def test_what_the_instance_does_not_have_is_absent() -> None:
    without = web(disks=web().disks[:1], nics=(msgspec.structs.replace(web().nics[0], ip=None),))
    [run, *_] = runs("OP_INSTANCE_CREATE", Phase.PRE, instance=without)
    found = run.environments["1"]
    assert not {"GANETI_SWAP_SIZE", "GANETI_INSTANCE_IP"} & found.keys()
    assert found["GANETI_INSTANCE_DISK_SIZE"] == "1024"


@pytest.mark.parametrize(
    ("opcode", "flag"),
    [("OP_INSTANCE_STARTUP", "FORCE"), ("OP_INSTANCE_FAILOVER", "IGNORE_CONSISTENCY")],
)
@pytest.mark.parametrize("phase", Phase)
def test_a_flag_that_was_not_given_is_absent_in_version_1_and_false_in_2(
    opcode: str, flag: str, phase: Phase
) -> None:
    names = [f"GANETI_{flag}"] + ([f"GANETI_POST_{flag}"] if phase is Phase.POST else [])
    for given, in_1, in_2 in ((True, "True", "True"), (False, None, "False")):
        [first, *_] = runs(opcode, phase, 1, values={flag: given})
        [second, *_] = runs(opcode, phase, 2, values={flag: given})
        assert [first.environments["1"].get(name) for name in names] == [in_1] * len(names)
        assert [second.environments["2"].get(name) for name in names] == [in_2] * len(names)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("opcode", "first", "second"),
    [
        ("OP_INSTANCE_SHUTDOWN", "instance-shutdown", "instance-stop"),
        ("OP_INSTANCE_REPLACE_DISKS", "mirror-replace", "mirrors-replace"),
    ],
)
def test_directories_that_one_version_knows_are_both_always_read(
    opcode: str, first: str, second: str, version: int, phase: Phase
) -> None:
    found = runs(opcode, phase, version)
    names = directories(found)
    assert names.keys() == {(f"{first}-{phase}.d", 1), (f"{second}-{phase}.d", 2)}
    for run in found:
        assert run.main_version == version
        for directory in run.directories:
            environment = run.environments[str(directory.version)]
            assert environment["GANETI_HOOKS_VERSION"] == str(directory.version)
            assert directory.name.startswith(environment["GANETI_HOOKS_PATH"])


@pytest.mark.parametrize("opcode", SEED)
def test_the_versions_differ_only_in_what_conflicts(opcode: str) -> None:
    for phase in Phase:
        first, second = ({run.node: run for run in runs(opcode, phase, main)} for main in (1, 2))
        for uuid in first.keys() & second.keys():
            one, two = first[uuid].environments.get("1"), second[uuid].environments.get("2")
            if one is None or two is None:
                continue
            differing = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
            assert differing <= {"GANETI_HOOKS_VERSION", "GANETI_HOOKS_PHASE", "GANETI_HOOKS_PATH"}


def test_config_update_is_told_in_the_clusters_version() -> None:
    run = config_update("OP_INSTANCE_STARTUP", cluster(), subject("OP_INSTANCE_STARTUP"))
    found = run.environments["1"]
    assert (run.node, run.directories[0].name) == (M, "config-update-post.d")
    assert found["GANETI_HOOKS_PHASE"] == "POST"
    assert found["GANETI_HOOKS_PATH"] == "config-update"
    assert found["GANETI_OP_ID"] == "OP_INSTANCE_START"
    assert found["GANETI_INSTANCE_NAME"] == "web1.example.com"
    assert not any(name.startswith("GANETI_POST_") for name in found)


def test_config_update_after_an_operation_without_hooks_has_the_common_variables_alone() -> None:
    run = config_update("OP_TAGS_SET", cluster(2), None)
    assert {name.removeprefix("GANETI_") for name in run.environments["2"]} == {
        "PATH",
        "HOOKS_VERSION",
        "HOOKS_PHASE",
        "HOOKS_PATH",
        "OP_ID",
        "OP_CODE",
        "DATA_DIR",
        "CLUSTER",
        "MASTER",
    }
