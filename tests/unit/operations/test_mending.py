"""What is mended by itself, and what only a person may decide."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, snapshot, up, web
from tests.unit.operations.steps import Written
from tests.unit.operations.test_instance_disks import instance
from tests.unit.operations.test_verification import said

from gantry.model.disk_orders import DiskSeen, DisksSeen
from gantry.model.entities import AdminState, DiskTemplate, Instance
from gantry.model.errors import Unavailable
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.model.orders import Inspect, Inspection
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.steps import measuring, ownership, verification

UP = web(admin_state=AdminState.UP)
STRAY = Uuid("90000000-0000-4000-8000-000000000009")
_MIB = 1 << 20


class Nodes:
    """Nodes with what they say."""

    secrets: dict[str, str] = {}  # noqa: RUF012

    def __init__(
        self,
        seen: dict[Uuid, Inspection | Unavailable] | None = None,
        sizes: dict[int, int | None] | None = None,
    ) -> None:
        self._seen = {NODE1: said(), NODE2: said(), NODE3: said(), **(seen or {})}
        self._sizes = sizes or {}

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        answer = self._seen[node]
        if isinstance(answer, Unavailable):
            raise answer
        if isinstance(question, Inspect):
            return answer
        return DisksSeen(
            disks=tuple(
                DiskSeen(uuid=disk.uuid, size=self._sizes.get(disk.index, disk.size * _MIB))
                for disk in question.disks
            )
        )

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def result(whole: Snapshot, opcode: str, nodes: Nodes) -> tuple[Any, Written]:
    op = {"OP_ID": opcode}
    operation, steps = registry.load(op), Written()
    plan = await operation.examine(check(whole, op), whole, nodes)
    return (await operation.run(plan, steps)).result, steps


async def repairs(whole: Snapshot, nodes: Nodes) -> list[dict[str, Any]]:
    found, _ = await result(whole, "OP_CLUSTER_FIND_REPAIRS", nodes)
    for one in found:
        registry.load(one["operation"])
    return [one["operation"] for one in found]


async def disks(whole: Snapshot, nodes: Nodes) -> tuple[Any, Written]:
    return await result(whole, "OP_CLUSTER_VERIFY_DISKS", nodes)


async def test_a_healthy_cluster_needs_nothing() -> None:
    whole = snapshot(instance(admin_state=AdminState.UP))
    nodes = Nodes({NODE1: said(up())})
    assert await repairs(whole, nodes) == []
    found, steps = await disks(whole, nodes)
    assert found is True
    assert steps.lines == ["Verified 2 disk(s), of which 0 are mirrored"]


async def test_a_record_is_put_right_where_only_it_is_wrong() -> None:
    nodes = Nodes({NODE2: said(up())})
    assert await repairs(snapshot(UP), nodes) == [
        {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": UP.name, "cleanup": True}
    ]
    local = msgspec.structs.replace(instance(), admin_state=AdminState.UP)
    assert await repairs(snapshot(local), nodes) == [], "its disks are on the other node"
    silent = Nodes({NODE1: Unavailable("silent"), NODE2: said(up())})
    assert await repairs(snapshot(UP), silent) == [], "it may run there too"


async def test_one_that_runs_twice_is_for_a_person() -> None:
    twice: dict[Uuid, Inspection | Unavailable] = {NODE1: said(up()), NODE2: said(up())}
    assert await repairs(snapshot(UP), Nodes(twice)) == []
    found = list(verification.nodes(snapshot(UP), {**twice, NODE3: said()}, 0.0))
    [wrong] = [one for one in found if one.code == "EINSTANCEWRONGNODE"]
    assert wrong.level == "ERROR"
    assert "runs on node1.example.com and node2.example.com at once" in wrong.message
    assert f"gnt-node end-guest node2.example.com {UP.uuid}" in wrong.message


@pytest.mark.parametrize(
    ("state", "count"), [(GuestState.STOPPED, 1), (GuestState.DIED, 1), (GuestState.RUNNING, 0)]
)
async def test_only_what_has_ended_is_forgotten(state: GuestState, count: int) -> None:
    stray = {STRAY: GuestLive(uuid=STRAY, name="stray", state=state)}
    found = await repairs(snapshot(), Nodes({NODE2: said(stray)}))
    assert (
        found
        == [{"OP_ID": "OP_NODE_END_GUEST", "node_name": "node2.example.com", "guest": STRAY}]
        * count
    )


async def test_the_pool_of_candidates_is_filled() -> None:
    whole = snapshot(change={NODE3: {"master_candidate": False}})
    assert await repairs(whole, Nodes()) == [
        {
            "OP_ID": "OP_NODE_SET_PARAMS",
            "node_name": "node3.example.com",
            "master_candidate": True,
        }
    ]


async def test_a_disk_that_grew_is_recorded_and_a_smaller_one_is_for_a_person() -> None:
    whole = snapshot(instance())
    nodes = Nodes(sizes={0: 200 * _MIB + 5, 1: 64 * _MIB})
    [found] = await repairs(whole, nodes)
    assert (found["OP_ID"], found["disk"], found["amount"]) == ("OP_INSTANCE_GROW_DISK", 0, 200)
    assert found["absolute"] is True
    seen, steps = await disks(whole, nodes)
    assert seen is False
    assert "disk 0 has 200 MiB" in steps.lines[1]
    assert "gnt-cluster repair" in steps.lines[1]
    assert "needs a backup" in steps.lines[2]


async def test_lost_disks_and_silent_nodes_are_named() -> None:
    whole = snapshot(instance(), web(2, node=2, **_disk(2)))
    found, steps = await disks(whole, Nodes({NODE2: Unavailable("no route")}, {1: None}))
    assert found is False
    assert "node2.example.com: does not answer: no route" in steps.lines[1]
    assert "disk 1 (/srv/ganeti/file-storage/web1/disk1) is lost on node1" in steps.lines[2]
    assert "gnt-instance recreate-disks web1" in steps.lines[2]


def _disk(number: int) -> dict[str, Any]:
    other = instance().disks[0]
    return {
        "disks": (msgspec.structs.replace(other, uuid=Uuid(f"d{number}"), path=f"/x/{number}"),),
        "disk_template": DiskTemplate.FILE,
    }


def strange(whole: Snapshot, node: Uuid, path: str) -> str:
    return ownership.stranger(path, whole.nodes[node], ownership.disks(whole))


def test_a_file_belongs_to_the_node_of_its_instance() -> None:
    whole = snapshot(instance())
    path = instance().disks[0].path
    assert strange(whole, NODE1, path) == ""
    assert "not the disk of web1" in strange(whole, NODE2, path)
    assert "belongs to no instance" in strange(whole, NODE1, "/srv/x")
    shared: Instance = instance(DiskTemplate.SHAREDFILE)
    assert strange(snapshot(shared), NODE2, shared.disks[0].path) == ""


async def test_disks_of_other_templates_are_not_looked_at_as_files() -> None:
    for template, looked in ((DiskTemplate.MIRROR, 0), (DiskTemplate.SHAREDFILE, 2)):
        whole = snapshot(instance(template))
        nodes: Any = Nodes()
        answers = await measuring.read(nodes, whole)
        assert len(list(measuring.measured(whole, answers))) == looked
