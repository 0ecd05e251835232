"""Every operation with hooks tells its scripts exactly what its entry in the table names."""

from __future__ import annotations

import random
import uuid
from typing import Any, Final

import msgspec
import pytest
from tests.fakes.cluster import entities, instance, node_uuid

from gantry.hooks.plan import phase_runs
from gantry.hooks.table import ROWS, Phase
from gantry.model.entities import (
    AdminState,
    Disk,
    DiskTemplate,
    HypervisorName,
    Joined,
    Node,
)
from gantry.model.live import HypervisorFacts, NodeFacts, NodeLive, OsFacts
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build
from gantry.operations import registry
from gantry.operations.steps import mirrors

FACTS: Final = NodeFacts(
    memory_total=65536,
    memory_free=65536,
    disk_total=100_000,
    disk_free=100_000,
    hypervisors={HypervisorName.FAKE: HypervisorFacts(available=True)},
    oses=(OsFacts(name="noop", path="/srv/ganeti/os/noop", digest="noop"),),
    bridges=("br0",),
)
JOINED: Final = Joined(
    uuid=Uuid("00000000-0000-4000-8000-000000000901"),
    name="node9.example.com",
    primary_ip="127.1.0.9",
    port=1811,
)
DISK: Final = Disk(
    uuid=Uuid("00000000-0000-4000-8000-000000000701"),
    size=64,
    template=DiskTemplate.FILE,
    path="/srv/ganeti/file-storage/web1.example.com/disk0",
)
SHARED: Final = msgspec.structs.replace(DISK, template=DiskTemplate.SHAREDFILE)
MIRRORED: Final = msgspec.structs.replace(DISK, template=DiskTemplate.MIRROR, generation=1)
WEB1: Final = {"instance_name": "web1.example.com"}
GIVEN: Final[dict[str, dict[str, Any]]] = {
    "OP_CLUSTER_SET_PARAMS": {"candidate_pool_size": 3},
    "OP_CLUSTER_VERIFY": {},
    "OP_CLUSTER_DESTROY": {},
    "OP_MASTER_FAILOVER": {"node_name": "node2.example.com"},
    "OP_MASTER_TAKEOVER": {},
    "OP_NODE_ADD": {"node_name": "node9.example.com"},
    "OP_NODE_REMOVE": {"node_name": "node3.example.com"},
    "OP_NODE_SET_PARAMS": {"node_name": "node3.example.com", "drained": True},
    "OP_NODE_MIGRATE": {"node_name": "node2.example.com"},
    "OP_INSTANCE_CREATE": {
        "instance_name": "new.example.com",
        "disk_template": "file",
        "disks": [{"size": 128}],
        "os_type": "noop",
        "nics": [{"link": "br0"}],
    },
    "OP_INSTANCE_STARTUP": WEB1,
    "OP_INSTANCE_SHUTDOWN": WEB1,
    "OP_INSTANCE_REBOOT": WEB1,
    "OP_INSTANCE_SET_PARAMS": {**WEB1, "beparams": {"vcpus": 4}},
    "OP_INSTANCE_RENAME": {**WEB1, "new_name": "www.example.com"},
    "OP_INSTANCE_REINSTALL": WEB1,
    "OP_INSTANCE_REMOVE": WEB1,
    "OP_BACKUP_EXPORT": {**WEB1, "target_node": "node3.example.com"},
    "OP_INSTANCE_GROW_DISK": {**WEB1, "disk": 0, "amount": 1},
    "OP_INSTANCE_RECREATE_DISKS": WEB1,
    "OP_INSTANCE_FAILOVER": {**WEB1, "target_node": "node3.example.com"},
    "OP_INSTANCE_MIGRATE": {**WEB1, "cleanup": True},
    "OP_INSTANCE_ADD_MDDRBD": {**WEB1, "disk_name": "sda", "remote_node": "node3.example.com"},
    "OP_INSTANCE_REPLACE_DISKS": {**WEB1, "mode": "replace_on_secondary"},
    "OP_INSTANCE_REMOVE_MDDRBD": {**WEB1, "disk_name": "sda", "disk_id": 1},
    "OP_INSTANCE_MOVE": {**WEB1, "target_node": "node3.example.com"},
}
"""An op code's fields; one more line for every new operation with hooks."""
OF_STOPPED: Final = {
    "OP_INSTANCE_RENAME",
    "OP_INSTANCE_REINSTALL",
    "OP_INSTANCE_RECREATE_DISKS",
}
OF_SHARED: Final = {"OP_INSTANCE_FAILOVER", "OP_INSTANCE_MIGRATE"}
"""Not for disks that are on their node alone."""
OF_MIRRORED: Final = {
    "OP_INSTANCE_ADD_MDDRBD",
    "OP_INSTANCE_REMOVE_MDDRBD",
    "OP_INSTANCE_REPLACE_DISKS",
}
SOMETIMES: Final = {
    "SRC_NODE",
    "SRC_PATH",
    "SRC_IMAGES",
    "NEW_DISK_TEMPLATE",
    "RUNTIME_MEMORY",
}
"""Told on import only, or where given (hook interface, section 2)."""
HOOKED: Final = sorted(code for code in registry.PLACES if registry.find(code).hooked)


class Given:
    """``operations.base.Given`` from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    @property
    def now(self) -> float:
        return 1_800_000_000.0

    def uuid(self) -> Uuid:
        return Uuid(str(uuid.UUID(int=self._random.getrandbits(128), version=4)))

    @property
    def requester(self) -> str:
        return "root"

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


def cluster(opcode: str, version: int = 1) -> Snapshot:
    """Nodes that answer and, where the operation may meet one, an instance, mostly up."""
    alone = opcode == "OP_CLUSTER_DESTROY"
    taken_over = {"failed_over_from": node_uuid(3)} if opcode == "OP_MASTER_TAKEOVER" else {}
    found = entities(1 if alone else 3, hooks_version=version, **taken_over)
    if not alone:
        web = instance(
            1,
            2,
            secondary_nodes=(node_uuid(1),),
            admin_state=AdminState.DOWN if opcode in OF_STOPPED else AdminState.UP,
            disk_template=_disk(opcode).template,
            disks=(_disk(opcode),),
        )
        found += [web, JOINED]
        if opcode in OF_MIRRORED:
            found.append(mirrors.made(web, _disk(opcode), True, 0.0))
    live = {
        one.uuid: NodeLive(reachable=True, facts=FACTS)
        for one in found
        if isinstance(one, Node | Joined)
    }
    return build(1, found, live)


def _disk(opcode: str) -> Disk:
    if opcode in OF_MIRRORED:
        return MIRRORED
    return SHARED if opcode in OF_SHARED else DISK


@pytest.mark.parametrize("opcode", HOOKED)
@pytest.mark.parametrize("version", [1, 2])
def test_what_an_operation_tells_is_what_its_entry_names(opcode: str, version: int) -> None:
    whole = cluster(opcode, version)
    operation = registry.load({"OP_ID": opcode, **GIVEN[opcode]})
    subject = operation.subject(operation.check(whole, Given()), whole)
    assert subject is not None
    entry = ROWS[opcode]
    assert subject.kind is entry.kind
    told = set(subject.values)
    assert told <= set(entry.own)
    assert set(entry.own) - told <= SOMETIMES
    assert (subject.node is not None) >= bool(entry.node_variables)
    for run in phase_runs(opcode, Phase.POST, whole, subject, whole, subject):
        for environment in run.environments.values():
            names = {f"GANETI_{name}" for name in (*told, *entry.node_variables)}
            absent = names - environment.keys()
            assert absent <= {f"GANETI_{name}" for name in entry.flags}


@pytest.mark.parametrize("shutdown", [True, False])
def test_an_export_tells_where_it_goes_and_whether_the_instance_is_shut_down(
    shutdown: bool,
) -> None:
    whole = cluster("OP_BACKUP_EXPORT")
    given = {**GIVEN["OP_BACKUP_EXPORT"], "shutdown": shutdown}
    operation = registry.load({"OP_ID": "OP_BACKUP_EXPORT", **given})
    subject = operation.subject(operation.check(whole, Given()), whole)
    assert subject is not None
    assert subject.values["EXPORT_NODE"] == given["target_node"]
    assert subject.values["EXPORT_DO_SHUTDOWN"] is shutdown


def test_a_plan_that_came_back_from_the_journal_tells_the_same() -> None:
    """A repeat after a crash has the same variables: they come from the stored plan."""
    for opcode in HOOKED:
        whole = cluster(opcode)
        operation = registry.load({"OP_ID": opcode, **GIVEN[opcode]})
        plan = operation.check(whole, Given())
        again = msgspec.json.decode(msgspec.json.encode(plan), type=operation.plan_type)
        first, second = (operation.subject(one, whole) for one in (plan, again))
        assert first is not None and second is not None
        assert [phase_runs(opcode, phase, whole, first, whole, first) for phase in Phase] == [
            phase_runs(opcode, phase, whole, second, whole, second) for phase in Phase
        ]
