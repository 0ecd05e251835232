"""A live migration of mirrored disks: which replicas are in sync by its one commit."""

from __future__ import annotations

from typing import Any

from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, examined, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, ReplicaState
from gantry.model.errors import Unavailable
from gantry.model.moving_orders import Described, GuestResume, Ports, Sent
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReplicaServe
from gantry.model.replicas import all_changed
from gantry.operations import registry
from gantry.operations.steps import specs

MIGRATE: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_MIGRATE",
    "instance_name": "web1",
    "target_node": "node2",
}
UP = mirrored(admin_state=AdminState.UP, secondary_nodes=(NODE2, NODE3))


async def migrated(
    *whole: Uuid, third: ReplicaState = IN_SYNC, silent: str = ""
) -> tuple[dict[Uuid, ReplicaState], Written]:
    """The states by the commit, where these nodes had all of the disk in the pause."""
    cluster = snapshot(UP, mirror(IN_SYNC, third), nodes={NODE1: live(guests=up())})
    operation = registry.load(MIGRATE)
    plan = await examined(operation, check(cluster, MIGRATE), cluster)
    spec = specs.guest(cluster.cluster, UP)
    steps = Written(
        failing={silent: Unavailable("it does not answer")} if silent else {},
        answers={
            "describe-guest": Described(spec=spec, accelerator="none"),
            "receive-guest": Ports(memory=4444),
            "send-guest": Sent(whole=tuple((DISK.uuid, node) for node in whole)),
        },
    )
    await operation.run(plan, steps)
    mirrors = dict(cluster.mirrors)
    first = steps.firsts["resume-guest"]
    mirrors |= {one.uuid: one for one in all_changed(mirrors, first.mirrors)}
    return {node: one.state for node, one in mirrors[DISK.uuid].replicas.items()}, steps


def mirrored_to(steps: Written) -> list[Uuid]:
    """The nodes to which the guest mirrors from then on."""
    [order] = [order for _, _, order, _ in steps.done if isinstance(order, GuestResume)]
    return [target.node for target in order.disks[0].targets]


def serving(steps: Written) -> list[Uuid]:
    return [node for _, node, order, _ in steps.done if isinstance(order, ReplicaServe)]


async def test_what_has_all_at_the_end_is_in_sync() -> None:
    states, steps = await migrated(NODE2, NODE3)
    assert states == {NODE1: IN_SYNC, NODE2: IN_SYNC, NODE3: IN_SYNC}
    assert mirrored_to(steps) == [NODE1, NODE3]
    assert serving(steps) == [NODE1, NODE3]
    assert steps.warnings == []


async def test_a_third_replica_that_fell_behind_while_the_guest_was_sent_is_not() -> None:
    states, steps = await migrated(NODE2)
    assert states == {NODE1: IN_SYNC, NODE2: IN_SYNC, NODE3: STALE}
    assert mirrored_to(steps) == [NODE1]
    assert serving(steps) == [NODE1]
    assert "node3" in steps.warnings[0]
    assert "not mirrored at the end" in steps.warnings[0]


async def test_one_that_was_behind_before_stays_so_whatever_is_said_of_it() -> None:
    states, steps = await migrated(NODE2, NODE3, third=STALE)
    assert states[NODE3] is STALE
    assert mirrored_to(steps) == [NODE1]


async def test_one_that_could_not_be_prepared_is_left_behind() -> None:
    states, steps = await migrated(NODE2, NODE3, silent="prepare-replica/0/node3.example.com")
    assert states == {NODE1: IN_SYNC, NODE2: IN_SYNC, NODE3: STALE}
    assert mirrored_to(steps) == [NODE1]


async def test_all_of_it_is_one_commit_with_the_new_primary() -> None:
    _, steps = await migrated(NODE2, NODE3)
    first = steps.firsts["resume-guest"]
    [instance] = first.put
    assert (instance.primary_node, instance.disks[0].generation) == (NODE2, 2)  # type: ignore[union-attr]
    assert steps.firsts["serve-replica/0/node1.example.com"] is first
