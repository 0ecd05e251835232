"""What verification finds of mirrored disks, and the command that it names for each."""

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
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Mirror
from gantry.model.errors import Unavailable
from gantry.model.live import NodeLive
from gantry.model.replica_orders import ReplicaSeen
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.steps import redundancy, verification

VERIFY: dict[str, Any] = {"OP_ID": "OP_CLUSTER_VERIFY_DISKS"}
CLEAN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, state=IN_SYNC, clean=True)
RUNNING = {NODE1: live(guests=up())}
UP = mirrored(admin_state=AdminState.UP)
GONE = NodeLive(reachable=False)


def found(cluster: Snapshot) -> list[str]:
    return [
        f"{one.level} {one.item} {one.message}"
        for one in verification.configuration(cluster, 0.0)
        if one.code == "EINSTANCEFAULTYDISK"
    ]


def test_a_disk_that_is_in_sync_is_no_finding() -> None:
    assert found(snapshot(mirrored(), mirror())) == []


@pytest.mark.parametrize(
    ("state", "nodes", "level", "command"),
    [
        (STALE, RUNNING, "ERROR", "gnt-instance sync-disks web1.example.com"),
        (STALE, {NODE2: GONE}, "ERROR", "gnt-instance add-mirror -b sda -n NODE web1.example.com"),
        (STALE, {NODE2: GONE}, "ERROR", "remove-mirror -b sda -p 1"),
        (SYNCING, RUNNING, "WARNING", "gnt-instance info web1.example.com"),
        (SYNCING, {}, "WARNING", "gnt-instance startup web1.example.com"),
        (None, {}, "WARNING", "gnt-instance add-mirror -b sda -n NODE web1.example.com"),
    ],
)
def test_what_is_not_in_sync_comes_with_what_mends_it(
    state: Any, nodes: Any, level: str, command: str
) -> None:
    secondaries = (NODE2,) if state else ()
    cluster = snapshot(mirrored(secondary_nodes=secondaries), mirror(state), nodes=nodes)
    [line] = found(cluster)
    assert line.startswith(level) and command in line


def test_records_that_do_not_fit_together_are_found() -> None:
    assert "secondary nodes" in found(snapshot(mirrored(secondary_nodes=(NODE3,)), mirror()))[0]
    assert "nothing is known" in found(snapshot(mirrored(secondary_nodes=())))[0]
    stray: Mirror = mirror()
    codes = [one.code for one in verification.configuration(snapshot(stray), 0.0)]
    assert "ECLUSTERCFG" in codes


async def verified(cluster: Snapshot, asked: Asked) -> tuple[bool, list[str]]:
    operation = registry.load(VERIFY)
    plan = await examined(operation, check(cluster, VERIFY), cluster, asked)
    steps = Written()
    outcome = await operation.run(plan, steps)
    return outcome.result, steps.lines[1:]


async def test_what_nodes_say_is_compared() -> None:
    cluster = snapshot(mirrored(), mirror())
    assert await verified(cluster, Asked()) == (True, [])
    for node, change, said in (
        (NODE2, {"there": False}, "is not there: the next start leaves it behind"),
        (NODE2, {"generation": 3}, "is of generation 3, not 1"),
        (NODE2, {"problem": "a foreign write"}, "a foreign write"),
        (NODE1, {"problem": "a foreign write"}, "gnt-instance failover web1.example.com"),
    ):
        changed = msgspec.structs.replace(CLEAN, **change)
        passed, lines = await verified(cluster, Asked({node: changed}))
        assert not passed
        assert said in lines[0]


async def test_a_stale_replica_may_be_anything_and_a_silent_node_is_said() -> None:
    cluster = snapshot(UP, mirror(STALE), nodes=RUNNING)
    _, lines = await verified(cluster, Asked({NODE2: ReplicaSeen(disk=DISK.uuid, there=False)}))
    assert [line for line in lines if "not there" in line] == []
    passed, lines = await verified(snapshot(mirrored(), mirror()), Asked({NODE2: None}))
    assert not passed and "does not say what replicas it has" in lines[0]


def test_files_that_are_no_replicas_any_more_and_those_that_are_missing() -> None:
    cluster = snapshot(mirrored(), mirror())
    assert redundancy.orphans(cluster, NODE3, [DISK.path, "/other"]) == {DISK.path}
    assert redundancy.orphans(cluster, NODE2, [DISK.path]) == set()
    assert redundancy.copies(cluster) == {NODE1: [], NODE2: [DISK.path]}
    [one] = redundancy.missing(cluster, {NODE2: {DISK.path}, NODE1: {DISK.path}})
    assert "replace-disks -s" in one.message
    assert next(iter(redundancy.seen(cluster, {NODE2: Unavailable("no")}))).code == "ENODERPC"
