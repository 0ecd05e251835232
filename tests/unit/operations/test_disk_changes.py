"""Disks that an instance gets and loses: ``gnt-instance modify --disk``."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, NODE2, check, facts, live, snapshot, up, web
from tests.unit.operations.steps import Written
from tests.unit.operations.test_instance_disks import cluster, instance

from gantry.model.entities import Instance
from gantry.model.errors import Rejected
from gantry.model.live import NodeLive
from gantry.model.orders import DiskCreate, DiskPlug, DiskRemove, DiskUnplug
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

RUNNING = {NODE1: live(guests=up())}


def op(*changes: Any, **fields: Any) -> dict[str, Any]:
    return {
        "OP_ID": "OP_INSTANCE_SET_PARAMS",
        "instance_name": "web1",
        "disks": list(changes),
        **fields,
    }


def refused(whole: Snapshot, *changes: Any, **fields: Any) -> str:
    with pytest.raises(Rejected) as caught:
        check(whole, op(*changes, **fields))
    return caught.value.message


async def done(whole: Snapshot, *changes: Any, **fields: Any) -> tuple[Instance, Outcome, Written]:
    steps, given = Written(), op(*changes, **fields)
    outcome = await registry.load(given).run(check(whole, given), steps)
    [after] = outcome.put
    assert isinstance(after, Instance)
    return after, outcome, steps


async def test_a_new_one_is_made_beside_the_others() -> None:
    values = {"size": "1G", "name": "data", "mode": "ro", "format": "qcow2"}
    after, outcome, steps = await done(cluster(), ["add", -1, values])
    new = after.disks[2]
    assert (new.size, new.name, new.mode, new.format) == (1024, "data", "ro", "qcow2")
    assert new.path.startswith("/srv/ganeti/file-storage/web1/")
    assert new.path not in {one.path for one in after.disks[:2]}
    [(name, node, order, undo)] = steps.done
    assert (name, node) == ("create-disk/2", NODE1)
    assert isinstance(order, DiskCreate)
    assert undo == DiskRemove(disk=order.disk)
    assert outcome.result == [["disk/2", "add:size=1024,mode=ro"]]
    assert outcome.cleanup == ()


async def test_one_that_goes_is_removed_once_the_record_stands() -> None:
    before = instance()
    after, outcome, steps = await done(cluster(before), ["remove", "sda"])
    assert after.disks == before.disks[1:]
    assert steps.done == []
    [owed] = outcome.cleanup
    assert isinstance(owed.order, DiskRemove)
    assert (owed.order.disk.uuid, owed.node) == (before.disks[0].uuid, NODE1)
    assert outcome.result == [["disk/0", "remove"]]


async def test_names_and_modes_change_without_touching_a_node() -> None:
    change = ["modify", 1, {"mode": "ro", "name": "logs"}]
    after, outcome, steps = await done(cluster(), change, ["modify", "root", {"name": "none"}])
    assert [(one.name, one.mode) for one in after.disks] == [(None, "rw"), ("logs", "ro")]
    assert (steps.done, outcome.cleanup) == ([], ())
    assert outcome.result == [
        ["disk.name/0", "none"],
        ["disk.mode/1", "ro"],
        ["disk.name/1", "logs"],
    ]


async def test_changes_are_made_one_after_the_other() -> None:
    before = instance()
    after, outcome, _ = await done(
        cluster(before), ["add", 0, {"size": 1}], ["remove", 1], ["modify", 1, {"name": "x"}]
    )
    assert [one.size for one in after.disks] == [1, 128]
    assert after.disks[1].uuid == before.disks[1].uuid
    orders = [one.order for one in outcome.cleanup]
    assert [one.disk.index for one in orders if isinstance(one, DiskRemove)] == [0]
    _, outcome, steps = await done(
        cluster(before), ["add", -1, {"size": 1}], ["remove", -1], ["modify", 0, {"name": "y"}]
    )
    assert (steps.done, outcome.cleanup) == ([], ()), "one that was never there"


@pytest.mark.parametrize(
    "change",
    [
        ["add", -1, {}],
        ["add", -1, {"size": 0}],
        ["add", -1, {"size": "1e3"}],
        ["add", 5, {"size": 1}],
        ["add", -1, {"size": 1, "mode": "w"}],
        ["add", -1, {"size": 1, "format": "vmdk"}],
        ["add", -1, {"size": 1, "name": "../x"}],
        ["add", -1, {"size": 1, "path": "/etc/passwd"}],
        ["modify", 0, {"size": "2G"}],
        ["modify", 0, {"format": "qcow2"}],
        ["modify", 0, {"mode": "w"}],
        ["modify", 0, {"name": "a/b"}],
        ["modify", 7, {"name": "x"}],
        ["remove", 0, {"name": "x"}],
        ["attach", 0],
    ],
)
def test_what_makes_no_sense_is_refused(change: Any) -> None:
    refused(cluster(), change)


def test_some_disk_stays_and_there_are_not_too_many() -> None:
    assert "has 1 to 16 disks" in refused(cluster(), ["remove", 0], ["remove", 0])
    assert "has 1 to 16 disks" in refused(cluster(), *[["add", -1, {"size": 1}]] * 15)


def test_only_disks_that_are_files_on_a_node_that_answers() -> None:
    change = ["add", -1, {"size": 1}]
    assert "has no disks" in refused(snapshot(web()), change)
    assert "does not answer" in refused(cluster(nodes={NODE1: NodeLive(reachable=False)}), change)
    assert "runs on node" in refused(cluster(nodes={NODE2: live(guests=up())}), change)
    small = {NODE1: live(facts(disk_free=100))}
    assert "100 MiB left" in refused(cluster(nodes=small), ["add", -1, {"size": 101}])
    plan = check(cluster(), op(["add", -1, {"size": 101}]))
    assert [(one.node, one.disk) for one in plan.claims] == [(NODE1, 101)]


class TestWhileItRuns:
    async def test_a_new_one_is_plugged_in(self) -> None:
        whole, change = cluster(nodes=RUNNING), ["add", -1, {"size": 1}]
        assert "it runs" in refused(whole, change)
        _, _, steps = await done(whole, change, hotplug=True)
        assert steps.names == ["create-disk/2", "plug-disk/2"]
        assert steps.warnings == []
        _, _, order, undo = steps.done[1]
        assert isinstance(order, DiskPlug)
        assert undo == DiskUnplug(disk=order.disk, guest=order.guest, hypervisor="fake")

    async def test_one_goes_only_when_the_guest_lets_go_of_it(self) -> None:
        whole = cluster(nodes=RUNNING)
        assert "it runs" in refused(whole, ["remove", 1])
        _, outcome, steps = await done(whole, ["remove", 1], hotplug=True)
        [(name, _, order, undo)] = steps.done
        assert (name, type(order), type(undo)) == ("unplug-disk/1", DiskUnplug, DiskPlug)
        assert len(outcome.cleanup) == 1

    def test_the_others_keep_their_places(self) -> None:
        whole = cluster(nodes=RUNNING)
        for change in (["remove", 0], ["add", 0, {"size": 1}], ["add", 1, {"size": 1}]):
            assert "at the end alone" in refused(whole, change, hotplug=True)

    async def test_what_cannot_be_plugged_waits(self) -> None:
        change = ["modify", 1, {"mode": "ro"}]
        _, _, steps = await done(cluster(nodes=RUNNING), change, hotplug=True)
        assert steps.names == []
        assert "at its next start" in steps.warnings[0]

    async def test_hotplug_is_nothing_to_one_that_is_down(self) -> None:
        _, _, steps = await done(cluster(), ["add", -1, {"size": 1}], hotplug=True)
        assert steps.names == ["create-disk/2"]
