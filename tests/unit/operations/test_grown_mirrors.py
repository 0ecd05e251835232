"""Growing mirrored disks: which replicas grow, in which order, and what is refused."""

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
    mirror,
    mirrored,
)
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, live, snapshot
from tests.unit.operations.steps import Written
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, run, running

from gantry.model.disk_orders import DiskGrow
from gantry.model.entities import Instance
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestLive, GuestState
from gantry.model.replica_orders import ReplicaGrow, ReplicaReserve, ReplicaSeen

GROW: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_GROW_DISK",
    "instance_name": "web1",
    "disk": "sda",
    "amount": "64M",
}


def both(**fields: Any) -> Any:
    return snapshot(UP, mirror(IN_SYNC, IN_SYNC), **running(ready(NODE2), ready(NODE3)), **fields)


async def test_room_first_then_the_store_then_the_others_and_the_primary_last() -> None:
    outcome, steps = await run(both(), GROW)

    assert [(type(order), node) for _, node, order, _ in steps.done] == [
        (ReplicaReserve, NODE1),
        (ReplicaReserve, NODE2),
        (ReplicaReserve, NODE3),
        (ReplicaGrow, NODE2),
        (ReplicaGrow, NODE3),
        (DiskGrow, NODE1),
    ]
    [instance] = outcome.put
    assert isinstance(instance, Instance) and instance.disks[0].size == 192
    # The size is durable before the first replica has it, and room is given back until then.
    [(name, first)] = steps.firsts.items()
    assert (name, first.put) == ("grow-replica/0/node2.example.com", (instance,))
    undos = [getattr(undo, "order", undo) for _, _, _, undo in steps.done]
    assert [isinstance(one, ReplicaReserve) and one.size for one in undos[:3]] == [128] * 3
    assert undos[3:] == [None] * 3


async def test_a_stale_replica_and_of_a_stopped_one_what_is_away_grow_later() -> None:
    _, steps = await run(snapshot(UP, mirror(STALE), **running()), GROW)
    assert [node for _, node, _, _ in steps.done] == [NODE1, NODE1]
    assert list(steps.firsts) == ["grow-disk/0"]
    away = snapshot(mirrored(), mirror(IN_SYNC, SYNCING), nodes={NODE2: GONE})
    _, steps = await run(away, GROW)
    assert [node for _, node, _, _ in steps.done] == [NODE1, NODE1]


async def test_after_the_commit_nothing_is_taken_back() -> None:
    failing = {"grow-replica/0/node2.example.com": OperationFailed("its disk is broken")}
    outcome, steps = await run(both(), GROW, Written(failing))
    assert outcome.error is None
    assert "node2.example.com grows when it is opened: its disk is broken" in steps.warnings[0]

    failing = {"grow-disk/0": OperationFailed("QEMU does not answer")}
    outcome, _ = await run(both(), GROW, Written(failing))
    assert outcome.put and outcome.error is not None
    assert "192 MiB from its next start on" in outcome.error.message
    assert "grow-disk --absolute web1.example.com 0 192M" in outcome.error.hint


async def test_the_same_size_once_more_does_what_was_left() -> None:
    again = {**GROW, "amount": 128, "absolute": True}
    _, steps = await run(both(), again)
    assert len(steps.done) == 6
    with pytest.raises(Rejected, match="cannot be made smaller"):
        check(both(), {**again, "amount": 127})


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (
            snapshot(UP, mirror(SYNCING), **running(ready(NODE2))),
            "replica of disk 0 on node2.example.com is just being copied",
        ),
        (
            snapshot(UP, mirror(), nodes={**running(ready(NODE2))["nodes"], NODE2: GONE}),
            "node node2.example.com, which has a replica of disk 0, does not answer",
        ),
        (
            snapshot(mirrored(), mirror(), nodes={NODE2: live(facts(disk_free=10))}),
            "MiB of disk",
        ),
    ],
)
def test_what_cannot_grow_now_is_refused(cluster: Any, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(cluster, GROW)


def test_disks_that_are_active_are_not_grown() -> None:
    active = GuestLive(
        uuid=UP.uuid, name=UP.name, state=GuestState.STOPPED, mirrors=(ready(NODE2),)
    )
    cluster = snapshot(mirrored(), mirror(), nodes={NODE1: live(guests={UP.uuid: active})})
    with pytest.raises(Rejected, match="its disks are active"):
        check(cluster, GROW)


async def test_a_replica_that_must_not_be_used_is_not_grown() -> None:
    foreign = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, problem="it is another's")
    with pytest.raises(Rejected, match="must not be used: it is another's"):
        await run(snapshot(mirrored(), mirror()), GROW, asked=Asked({NODE1: foreign}))
    unheard = msgspec.structs.replace(foreign, generation=1, problem="")
    promoted = mirrored(disks=(msgspec.structs.replace(DISK, generation=2),))
    with pytest.raises(Rejected, match="has not heard yet"):
        await run(snapshot(promoted, mirror()), GROW, asked=Asked({NODE1: unheard}))
