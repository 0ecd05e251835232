"""Instances with mirrored disks: made, started, stopped, renamed, installed, removed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.mirrored import (
    DISK,
    IN_SYNC,
    STALE,
    SYNCING,
    Asked,
    examined,
    mirror,
    mirrored,
)
from tests.unit.operations.scene import (
    ADD,
    NODE1,
    NODE2,
    NODE3,
    check,
    live,
    snapshot,
    up,
)
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Instance, Mirror, OnDegraded
from gantry.model.errors import OperationFailed, Rejected, Unavailable
from gantry.model.live import NodeLive
from gantry.model.orders import DiskCreate, DiskMove, DiskRemove, GuestStart, OsCreate
from gantry.model.replica_orders import (
    ReplicaClose,
    ReplicaMark,
    ReplicaSeen,
    ReplicaServe,
    ReplicasSeen,
)
from gantry.model.replicas import ReplicaBecame
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

MIRRORED: dict[str, Any] = {
    **ADD,
    "disk_template": "mirror",
    "disks": [{"size": 128}],
    "pnode": "node1",
    "snode": "node2",
}
START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
STOP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}
REBOOT: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web1"}
REMOVE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"}
RENAME: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_RENAME",
    "instance_name": "web1",
    "new_name": "www.example.com",
}
REINSTALL: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web1"}
GONE = NodeLive(reachable=False, problem="gone")
CLEAN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, state=IN_SYNC, clean=True)
UNCLEAN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, state=IN_SYNC)


EXAMINED = ("OP_INSTANCE_STARTUP", "OP_INSTANCE_REBOOT", "OP_INSTANCE_ACTIVATE_DISKS")


async def run(
    cluster: Snapshot,
    op: dict[str, Any],
    steps: Written | None = None,
    asked: Asked | None = None,
) -> tuple[Outcome, Written]:
    steps = steps or Written()
    operation = registry.load(op)
    plan = check(cluster, op)
    if op["OP_ID"] in EXAMINED:
        plan = await examined(operation, plan, cluster, asked)
    return await operation.run(plan, steps), steps


def guest(steps: Written) -> Any:
    [order] = [order for _, _, order, _ in steps.done if isinstance(order, GuestStart)]
    return order.spec


def told(steps: Written, name: str) -> list[tuple[Any, Any]]:
    first = steps.firsts.get(name)
    return [(one.node, getattr(one, "state", None)) for one in first.mirrors] if first else []


def records(outcome: Outcome) -> list[Mirror]:
    return [one for one in outcome.put if isinstance(one, Mirror)]


# add


async def test_replicas_are_made_on_all_nodes_and_undone() -> None:
    outcome, steps = await run(snapshot(), {**MIRRORED, "snodes": ["node3"]})
    created = [(node, undo) for _, node, order, undo in steps.done if isinstance(order, DiskCreate)]
    assert [node for node, _ in created] == [NODE1, NODE2, NODE3]
    orders = [getattr(undo, "order", undo) for _, undo in created]
    assert all(isinstance(order, DiskRemove) for order in orders)
    [record] = records(outcome)
    assert [replica.number for replica in record.replicas.values()] == [0, 1, 2]
    assert set(record.replicas) == {NODE1, NODE2, NODE3}
    assert outcome.result == [NODE1, NODE2, NODE3]


async def test_what_a_script_wrote_is_copied_by_the_first_start() -> None:
    outcome, steps = await run(snapshot(), MIRRORED)
    assert any(isinstance(order, OsCreate) for _, _, order, _ in steps.done)
    [record] = records(outcome)
    assert [one.state for one in record.replicas.values()] == [IN_SYNC, SYNCING]
    [target] = guest(steps).disks[0].targets
    assert (target.node, target.full) == (NODE2, True)


async def test_empty_replicas_are_the_same() -> None:
    outcome, steps = await run(snapshot(), {**MIRRORED, "no_install": True})
    [record] = records(outcome)
    assert [one.state for one in record.replicas.values()] == [IN_SYNC, IN_SYNC]
    assert not any(isinstance(order, GuestStart) for _, _, order, _ in steps.done)
    [instance] = [one for one in outcome.put if isinstance(one, Instance)]
    assert (instance.secondary_nodes, instance.disks[0].generation) == ((NODE2,), 1)


async def test_a_secondary_that_fails_at_the_start_is_left_behind() -> None:
    steps = Written({"serve-replica/0/node2.example.com": Unavailable("gone")})
    outcome, _ = await run(snapshot(), MIRRORED, steps)
    assert guest(steps).disks[0].targets == ()
    change = outcome.mirrors[-1]
    assert isinstance(change, ReplicaBecame)
    assert (change.node, change.state) == (NODE2, STALE)
    assert "left behind" in steps.warnings[0]


def test_without_a_name_the_secondary_is_the_most_free_node() -> None:
    op = {key: value for key, value in MIRRORED.items() if key != "snode"}
    assert check(snapshot(), op).instance.secondary_nodes == (NODE3,)
    assert check(snapshot(), {**op, "pnode": None}).instance.primary_node == NODE3


def test_both_nodes_must_have_the_space() -> None:
    plan = check(snapshot(), MIRRORED)
    assert {(claim.node, claim.disk) for claim in plan.claims} == {(NODE1, 128), (NODE2, 128)}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"snode": "node1"}, "named twice"),
        ({"snodes": ["node2"]}, "named twice"),
        ({"disk_template": "file"}, "no secondary nodes"),
        ({"disks": [{"size": 128, "format": "qcow2"}]}, "is raw"),
        ({"disks": [{"size": 128, "on_degraded": "often"}]}, "wait or continue"),
        ({"disks": [{"size": 128, "resync_rate": "fast"}]}, "MiB a second"),
        ({"disks": [{"size": 128, "resync_rate": -1}]}, "MiB a second"),
        ({"disks": [{"size": 10**9}]}, "MiB of disk"),
        ({"snode": "node9"}, "there is no node"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(snapshot(), {**MIRRORED, **changes})


def test_a_secondary_that_is_away_or_drained_is_refused() -> None:
    with pytest.raises(Rejected, match="does not answer"):
        check(snapshot(nodes={NODE2: GONE}), MIRRORED)
    with pytest.raises(Rejected, match="drained"):
        check(snapshot(change={NODE2: {"drained": True}}), MIRRORED)


def test_a_disk_may_leave_the_promise_and_file_disks_make_none() -> None:
    disks = [{"size": 128, "on_degraded": "continue", "resync_rate": "50"}]
    [disk] = check(snapshot(), {**MIRRORED, "disks": disks}).instance.disks
    assert (disk.on_degraded, disk.resync_rate) == (OnDegraded.CONTINUE, 50)
    with pytest.raises(Rejected, match="mirrored disks alone"):
        check(snapshot(), {**MIRRORED, "disk_template": "file", "snode": None, "disks": disks})


def test_nodes_are_told_how_fast_a_disk_may_be_copied() -> None:
    plan = check(snapshot(), {**MIRRORED, "disks": [{"size": 128, "resync_rate": "50"}]})
    assert plan.instance.disks[0].resync_rate == 50
    assert plan.spec.disks[0].resync_rate == 50


# start


async def test_a_clean_start_mirrors_to_what_is_in_sync_without_a_copy() -> None:
    cluster = snapshot(mirrored(), mirror(IN_SYNC, STALE))
    _, steps = await run(cluster, START)
    assert steps.names == ["serve-replica/0/node2.example.com", "start-guest"]
    _, node, order, undo = steps.done[0]
    assert isinstance(order, ReplicaServe)
    assert (node, order.overwrite, order.peer.node, order.host) == (
        NODE2,
        False,
        NODE1,
        "127.1.0.2",
    )
    assert isinstance(undo, ReplicaClose)
    [target] = guest(steps).disks[0].targets
    assert (target.node, target.full, target.port) == (NODE2, False, 9001)
    assert told(steps, "start-guest") == []


async def test_what_is_being_made_is_copied_in_full() -> None:
    _, steps = await run(snapshot(mirrored(), mirror(SYNCING)), START)
    assert steps.done[0][2].overwrite is True  # type: ignore[attr-defined]
    assert guest(steps).disks[0].targets[0].full is True


async def test_after_an_unclean_stop_the_others_are_syncing_before_anything_is_read() -> None:
    cluster = snapshot(mirrored(), mirror(IN_SYNC, IN_SYNC))
    _, steps = await run(cluster, START, asked=Asked({NODE1: UNCLEAN}))
    marks = [(NODE2, SYNCING), (NODE3, SYNCING)]
    assert told(steps, "serve-replica/0/node2.example.com") == marks
    assert told(steps, "start-guest") == marks
    assert [one.full for one in guest(steps).disks[0].targets] == [True, True]
    assert "not closed in order" in steps.warnings[0]


@pytest.mark.parametrize(
    "node2",
    [{"nodes": {NODE2: GONE}}, {"change": {NODE2: {"offline": True}}}],
)
async def test_a_node_that_is_away_is_stale_before_the_guest_writes(node2: dict[str, Any]) -> None:
    _, steps = await run(snapshot(mirrored(), mirror(IN_SYNC, IN_SYNC), **node2), START)
    assert steps.names == ["serve-replica/0/node3.example.com", "start-guest"]
    assert told(steps, "start-guest") == [(NODE2, STALE)]
    assert [one.node for one in guest(steps).disks[0].targets] == [NODE3]


@pytest.mark.parametrize("error", [Rejected("foreign"), OperationFailed("no"), Unavailable("no")])
async def test_a_replica_that_is_refused_is_stale_before_the_guest_writes(error: Any) -> None:
    steps = Written({"serve-replica/0/node2.example.com": error})
    await run(snapshot(mirrored(), mirror()), START, steps)
    assert told(steps, "start-guest") == [(NODE2, STALE)]
    assert guest(steps).disks[0].targets == ()


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (ReplicaSeen(disk=DISK.uuid, there=False), "not there"),
        (ReplicaSeen(disk=DISK.uuid, there=True, generation=2, clean=True), "of generation 2"),
        (
            ReplicaSeen(disk=DISK.uuid, there=True, generation=1, problem="a foreign write"),
            "a foreign write",
        ),
    ],
)
async def test_a_primary_that_is_not_what_the_store_says_is_not_started(
    seen: ReplicaSeen, why: str
) -> None:
    steps = Written()
    with pytest.raises(Rejected, match=why) as caught:
        await run(snapshot(mirrored(), mirror()), START, steps, Asked({NODE1: seen}))
    assert "gnt-instance failover web1" in caught.value.hint
    assert steps.done == []


async def test_one_that_was_promoted_and_has_not_heard_of_it_hears_it_first() -> None:
    """Its job ended between the commit and the node."""
    old = ReplicaSeen(
        disk=DISK.uuid, there=True, generation=1, clean=True, problem="it is of generation 1"
    )
    disk = msgspec.structs.replace(DISK, generation=2)
    cluster = snapshot(mirrored(disks=(disk,)), mirror())
    clean = ReplicasSeen(replicas=(msgspec.structs.replace(CLEAN, generation=2),))
    steps = Written(answers={"look-at-replicas": clean})
    await run(cluster, START, steps, Asked({NODE1: old}))
    assert steps.names[:2] == ["mark-replica/0", "look-at-replicas"]
    mark = steps.done[0][2]
    assert isinstance(mark, ReplicaMark)
    assert (mark.generation, mark.disk.generation, mark.force) == (1, 2, False)
    assert guest(steps).disks[0].targets[0].full is False


async def test_one_that_turns_out_foreign_then_is_not_started() -> None:
    disk = msgspec.structs.replace(DISK, generation=2)
    cluster = snapshot(mirrored(disks=(disk,)), mirror())
    foreign = ReplicaSeen(disk=DISK.uuid, there=True, generation=2, problem="a foreign write")
    steps = Written(answers={"look-at-replicas": ReplicasSeen(replicas=(foreign,))})
    with pytest.raises(Rejected, match="a foreign write"):
        await run(cluster, START, steps, Asked({NODE1: CLEAN}))


# stop and reboot


async def test_a_stop_closes_the_replicas_after_the_guest_and_is_not_undone_without_them() -> None:
    cluster = snapshot(
        mirrored(admin_state=AdminState.UP), mirror(), nodes={NODE1: live(guests=up())}
    )
    _, steps = await run(cluster, STOP)
    assert steps.names == ["stop-guest", "close-replica/0/node2.example.com"]
    assert steps.done[0][3] is None


async def test_a_node_that_is_away_does_not_hold_up_a_stop() -> None:
    steps = Written({"close-replica/0/node2.example.com": Unavailable("gone")})
    cluster = snapshot(mirrored(admin_state=AdminState.UP), mirror())
    outcome, _ = await run(cluster, STOP, steps)
    assert outcome.put and "was not closed" in steps.warnings[0]
    away = snapshot(mirrored(admin_state=AdminState.UP), mirror(), nodes={NODE2: GONE})
    _, steps = await run(away, STOP)
    assert steps.names == ["stop-guest"]


async def test_a_reboot_looks_at_what_the_stop_left() -> None:
    cluster = snapshot(
        mirrored(admin_state=AdminState.UP), mirror(), nodes={NODE1: live(guests=up())}
    )
    seen = {"look-at-replicas": ReplicasSeen(replicas=(UNCLEAN,))}
    _, steps = await run(cluster, REBOOT, Written(answers=seen))
    assert steps.names == [
        "stop-guest",
        "look-at-replicas",
        "serve-replica/0/node2.example.com",
        "start-guest",
    ]
    assert guest(steps).disks[0].targets[0].full is True
    assert steps.done[0][3] is None
    clean = {"look-at-replicas": ReplicasSeen(replicas=(CLEAN,))}
    _, steps = await run(cluster, REBOOT, Written(answers=clean))
    assert guest(steps).disks[0].targets[0].full is False


# remove, rename, reinstall


async def test_all_replicas_go_with_the_instance() -> None:
    outcome, _ = await run(snapshot(mirrored(), mirror(IN_SYNC, STALE)), REMOVE)
    assert [type(one) for one in outcome.delete] == [Instance, Mirror]
    removed = [undo.node for undo in outcome.cleanup if isinstance(undo.order, DiskRemove)]
    closed = [undo.node for undo in outcome.cleanup if isinstance(undo.order, ReplicaClose)]
    assert (removed, closed) == ([NODE1, NODE2, NODE3], [NODE2, NODE3])
    order = [type(undo.order) for undo in outcome.cleanup if undo.node == NODE2]
    assert order == [ReplicaClose, DiskRemove]


async def test_files_move_on_all_nodes_and_the_script_makes_the_others_syncing() -> None:
    outcome, steps = await run(snapshot(mirrored(), mirror()), RENAME)
    moved = [(node, order.path) for _, node, order, _ in steps.done if isinstance(order, DiskMove)]
    path = "/srv/ganeti/file-storage/www.example.com/disk0"
    assert moved == [(NODE1, path), (NODE2, path)]
    assert told(steps, "os-rename") == [(NODE2, SYNCING)]
    [after] = outcome.put
    assert isinstance(after, Instance) and after.disks[0].path == path


def test_a_rename_needs_all_nodes() -> None:
    with pytest.raises(Rejected, match=r"node2.*does not answer"):
        check(snapshot(mirrored(), mirror(), nodes={NODE2: GONE}), RENAME)


async def test_an_installation_makes_the_others_syncing_before_its_script() -> None:
    cluster = snapshot(mirrored(), mirror(IN_SYNC, STALE), nodes={NODE2: GONE})
    _, steps = await run(cluster, REINSTALL)
    assert told(steps, "os-create") == [(NODE2, SYNCING)]
    first = steps.firsts["os-create"].mirrors[0]
    assert isinstance(first, ReplicaBecame) and first.only_from is IN_SYNC
