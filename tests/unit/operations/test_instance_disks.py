"""Growing, making anew and looking at an instance's disks: what is refused, and what is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import node_uuid
from tests.fakes.world import FakeDisk, FakeNode
from tests.unit.operations.scene import NODE1, NODE2, check, facts, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model.disk_orders import DiskGrow
from gantry.model.entities import AdminState, Disk, DiskFormat, DiskTemplate, Instance
from gantry.model.errors import Rejected
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate, DiskRemove, GuestForget, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.steps import disks, specs


def _disk(number: int, template: DiskTemplate = DiskTemplate.FILE) -> Disk:
    shared = "shared-" if template is DiskTemplate.SHAREDFILE else ""
    return Disk(
        uuid=Uuid(f"20000000-0000-4000-8000-00000000000{number}"),
        size=128,
        template=template,
        path=f"/srv/ganeti/{shared}file-storage/web1/disk{number}",
        name="root" if number == 0 else None,
        format=DiskFormat.RAW if number == 0 else DiskFormat.QCOW2,
    )


def instance(template: DiskTemplate = DiskTemplate.FILE, **changes: Any) -> Instance:
    made = tuple(_disk(number, template) for number in range(2))
    return web(1, disks=made, disk_template=template, **changes)


def cluster(one: Instance | None = None, **fields: Any) -> Snapshot:
    return snapshot(one or instance(), **fields)


GROW: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_GROW_DISK",
    "instance_name": "web1",
    "disk": 0,
    "amount": "1G",
}
ANEW: dict[str, Any] = {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1"}
ACTIVATE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": "web1"}
DEACTIVATE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS", "instance_name": "web1"}


class Nodes:
    """What nodes answer: the disks that are on each."""

    def __init__(self, there: Mapping[int, Mapping[int, int]]) -> None:
        self.warnings: list[str] = []
        self.secrets: dict[str, str] = {}
        self._nodes = {node_uuid(n): FakeNode(node_uuid(n), f"node{n}") for n in (1, 2, 3)}
        for number, sizes in there.items():
            for at, size in sizes.items():
                spec = specs.disk(at, msgspec.structs.replace(_disk(at), size=size))
                self._nodes[node_uuid(number)].disks[spec.path] = FakeDisk(spec)

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        return self._nodes[node].answer(question)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


ALL = {1: {0: 128, 1: 128}}


async def planned(whole: Snapshot, op: dict[str, Any], there: Any = ALL) -> Any:
    operation = registry.load(op)
    return await operation.examine(check(whole, op), whole, Nodes(there))


async def refused(whole: Snapshot, op: dict[str, Any], there: Any = ALL) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await planned(whole, op, there)
    return caught.value


class TestWhichDisk:
    @pytest.mark.parametrize(
        ("which", "at"),
        [
            (0, 0),
            ("1", 1),
            (-1, 1),
            ("-2", 0),
            ("sda", 0),
            ("sdb", 1),
            ("root", 0),
            (_disk(1).uuid, 1),
        ],
    )
    def test_is_named_by_number_letter_name_or_uuid(self, which: int | str, at: int) -> None:
        assert disks.index(instance(), which) == at

    @pytest.mark.parametrize("which", [2, "-3", "sdc", "sdq", "", "boot", "99999"])
    def test_one_that_is_not_there_is_refused(self, which: int | str) -> None:
        with pytest.raises(Rejected, match="has no disk"):
            disks.index(instance(), which)

    def test_one_may_be_inserted_behind_the_last(self) -> None:
        assert disks.index(instance(), 2, inserting=True) == 2
        assert disks.index(instance(), -1, inserting=True) == 2


class TestGrow:
    async def test_more_or_up_to(self) -> None:
        plan = await planned(cluster(), GROW)
        assert [one.size for one in plan.after.disks] == [128 + 1024, 128]
        assert [(one.node, one.disk) for one in plan.claims] == [(NODE1, 1024)]
        plan = await planned(cluster(), {**GROW, "disk": "sdb", "amount": 200, "absolute": True})
        assert [one.size for one in plan.after.disks] == [128, 200]

    async def test_is_one_order_that_is_not_taken_back(self) -> None:
        plan, steps = await planned(cluster(), GROW), Written()
        outcome = await registry.load(GROW).run(plan, steps)
        [(name, node, order, undo)] = steps.done
        assert (name, node, undo) == ("grow-disk/0", NODE1, None)
        assert isinstance(order, DiskGrow)
        assert (order.size, order.disk.size) == (1152, 128)
        assert outcome.put == (plan.after,)

    @pytest.mark.parametrize(
        ("amount", "absolute"),
        [(128, True), ("64M", True), ("1M", True), (0, False), ("-1", False)],
    )
    async def test_nothing_is_made_smaller(self, amount: int | str, absolute: bool) -> None:
        await refused(cluster(), {**GROW, "amount": amount, "absolute": absolute})

    async def test_it_must_fit_and_be_there(self) -> None:
        small = {NODE1: live(facts(disk_free=1000))}
        assert "1000 MiB left" in (await refused(cluster(nodes=small), GROW)).message
        error = await refused(cluster(), GROW, {})
        assert "is not there" in error.message
        assert "recreate-disks" in error.hint

    async def test_it_needs_files_and_a_node_that_answers(self) -> None:
        assert "has no disks" in (await refused(cluster(web(1)), GROW)).message
        silent = {NODE1: NodeLive(reachable=False)}
        assert "does not answer" in (await refused(cluster(nodes=silent), GROW)).message
        elsewhere = {NODE2: live(guests=up())}
        assert "runs on node" in (await refused(cluster(nodes=elsewhere), GROW)).message

    def test_scripts_hear_what_was_given(self) -> None:
        whole = cluster()
        for op, amount in ((GROW, 1024), ({**GROW, "absolute": True, "amount": "1G"}, 1024)):
            subject = registry.load(op).subject(check(whole, op), whole)
            assert subject is not None
            absolute = op.get("absolute", False)
            assert subject.values == {"DISK": 0, "AMOUNT": amount, "ABSOLUTE": absolute}


class TestRecreate:
    async def test_those_that_are_lost_are_made_and_the_others_stay(self) -> None:
        plan, steps = await planned(cluster(), ANEW, {1: {0: 128}}), Written()
        outcome = await registry.load(ANEW).run(plan, steps)
        [(name, node, order, undo)] = steps.done
        assert (name, node) == ("create-disk/1", NODE1)
        assert isinstance(order, DiskCreate)
        assert undo == DiskRemove(disk=order.disk, untouched=True), "never what has content"
        assert outcome.cleanup == ()
        assert "is empty" in steps.warnings[-1]

    async def test_what_is_there_is_not_made_anew(self) -> None:
        assert "disk 0, 1 of instance" in (await refused(cluster(), ANEW)).message
        error = await refused(cluster(), {**ANEW, "disks": [["root", {}]]}, {1: {0: 128}})
        assert "disk 0 of instance web1.example.com is there" in error.message

    async def test_it_may_be_made_otherwise(self) -> None:
        op = {**ANEW, "disks": [[1, {"size": "1G", "mode": "ro"}]]}
        plan = await planned(cluster(), op, {1: {0: 128}})
        assert [(one.size, one.mode) for one in plan.after.disks] == [(128, "rw"), (1024, "ro")]
        for wrong in ({"size": 0}, {"size": "x"}, {"mode": "w"}):
            await refused(cluster(), {**ANEW, "disks": [[1, wrong]]}, {})
        assert (
            "given twice" in (await refused(cluster(), {**ANEW, "disks": [1, "sdb"]}, {})).message
        )

    async def test_not_under_a_guest(self) -> None:
        running = {NODE1: live(guests=up())}
        assert "it is running" in (await refused(cluster(nodes=running), ANEW, {})).message
        meant = instance(admin_state=AdminState.UP)
        assert "to be up" in (await refused(cluster(meant), ANEW, {})).message

    async def test_on_another_node_all_of_them_and_only_from_a_dead_one(self) -> None:
        op = {**ANEW, "nodes": ["node2"]}
        silent = {NODE1: NodeLive(reachable=False)}
        assert "nothing proves" in (await refused(cluster(nodes=silent), op, {})).message
        dead = cluster(
            instance(admin_state=AdminState.UP), nodes=silent, change={NODE1: {"offline": True}}
        )
        plan, steps = await planned(dead, op, {}), Written()
        outcome = await registry.load(op).run(plan, steps)
        assert {node for _, node, _, _ in steps.done} == {NODE2}
        [moved] = outcome.put
        assert isinstance(moved, Instance)
        assert moved.primary_node == NODE2
        [owed] = outcome.cleanup
        assert (owed.node, type(owed.order)) == (NODE1, GuestStop)
        error = await refused(dead, {**op, "disks": [0]}, {})
        assert "cannot be made on another node" in error.message

    async def test_from_a_node_that_answers_only_where_they_are_lost(self) -> None:
        op = {**ANEW, "nodes": ["node2"]}
        error = await refused(cluster(), op)
        assert "is there, on node node1" in error.message
        assert "gnt-instance move" in error.hint
        outcome = await registry.load(op).run(await planned(cluster(), op, {}), Written())
        assert [type(one.order) for one in outcome.cleanup] == [GuestForget]


class TestActivate:
    async def test_says_where_they_are(self) -> None:
        outcome = await registry.load(ACTIVATE).run(await planned(cluster(), ACTIVATE), Written())
        assert outcome.result == [
            ["node1.example.com", "disk/0", "/srv/ganeti/file-storage/web1/disk0"],
            ["node1.example.com", "disk/1", "/srv/ganeti/file-storage/web1/disk1"],
        ]
        assert await planned(cluster(web(1)), ACTIVATE)

    async def test_another_size_or_none_is_refused(self) -> None:
        other = {1: {0: 128, 1: 256}}
        assert "it has 256 MiB" in (await refused(cluster(), ACTIVATE, other)).message
        assert await planned(cluster(), {**ACTIVATE, "ignore_size": True}, other)
        lost = {**ACTIVATE, "ignore_size": True}
        assert "is not there" in (await refused(cluster(), lost, {1: {0: 128}})).message

    async def test_the_opposite_is_refused_while_it_runs(self) -> None:
        running = cluster(nodes={NODE1: live(guests=up())})
        assert "running" in (await refused(running, DEACTIVATE)).message
        for whole, op in ((cluster(), DEACTIVATE), (running, {**DEACTIVATE, "force": True})):
            operation = registry.load(op)
            assert (await operation.run(check(whole, op), Written())).put == ()
