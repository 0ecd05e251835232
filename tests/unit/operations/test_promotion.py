"""A failover of mirrored disks whose replicas change state while its guest is stopped."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, examined, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Mirror, ReplicaState
from gantry.model.replica_orders import ReplicaSeen, ReplicasSeen
from gantry.model.replicas import MirrorChange, changed
from gantry.operations import registry

CLEAN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, state=IN_SYNC, clean=True)
FAILOVER: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_FAILOVER",
    "instance_name": "web1",
    "target_node": "node2",
}


async def after(now: Mirror, *, running: bool) -> dict[str, ReplicaState]:
    """What becomes of replicas that are all in sync when it is planned, and ``now`` these."""
    instance = mirrored(
        admin_state=AdminState.UP if running else AdminState.DOWN, secondary_nodes=(NODE2, NODE3)
    )
    nodes = {NODE1: live(guests=up())} if running else {}
    cluster = snapshot(instance, mirror(IN_SYNC, IN_SYNC), nodes=nodes)
    operation = registry.load(FAILOVER)
    plan = await examined(operation, check(cluster, FAILOVER), cluster)
    steps = Written(answers={"look-at-replicas": ReplicasSeen(replicas=(CLEAN,))})
    outcome = await operation.run(plan, steps)
    changes: list[MirrorChange] = [one for each in steps.firsts.values() for one in each.mirrors]
    for change in (*changes, *outcome.mirrors):
        now = changed(now, change)
    return {node: replica.state for node, replica in now.replicas.items()}


async def test_a_third_replica_that_is_lost_while_the_guest_stops_is_not_in_sync() -> None:
    found = await after(mirror(IN_SYNC, STALE), running=True)
    assert found[NODE2] is IN_SYNC
    assert found[NODE3] is not IN_SYNC


@pytest.mark.parametrize("third", [IN_SYNC])
async def test_of_a_stopped_instance_all_stay_in_sync(third: ReplicaState) -> None:
    found = await after(mirror(IN_SYNC, third), running=False)
    assert (found[NODE2], found[NODE3]) == (IN_SYNC, IN_SYNC)
