"""Mirrored disks that are lost on every node: made anew only where nothing of them is left."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, SYNCING, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, snapshot
from tests.unit.operations.steps import Written
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, running

from gantry.model.disk_orders import DiskSeen, DisksSeen, ReadDisks
from gantry.model.entities import Instance
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate
from gantry.model.replicas import ReplicaBecame
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

ANEW: dict[str, Any] = {"OP_ID": "OP_INSTANCE_RECREATE_DISKS", "instance_name": "web1"}
THREE = mirror(IN_SYNC, STALE)


class Nodes:
    """Only these have a file."""

    secrets: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, having: Collection[Uuid]) -> None:
        self._having = having

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        assert isinstance(question, ReadDisks)
        size = 128 << 20 if node in self._having else None
        return DisksSeen(disks=tuple(DiskSeen(uuid=d.uuid, size=size) for d in question.disks))

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def run(
    cluster: Snapshot,
    op: dict[str, Any] = ANEW,
    having: Collection[Uuid] = (),
    steps: Written | None = None,
) -> tuple[Outcome, Written]:
    steps, operation = steps or Written(), registry.load(op)
    nodes: Any = Nodes(having)
    plan = await operation.examine(check(cluster, op), cluster, nodes)
    return await operation.run(plan, steps), steps


async def test_all_replicas_are_made_one_generation_on_which_is_durable_before() -> None:
    op = {**ANEW, "disks": ((0, {"size": "1G"}),)}
    outcome, steps = await run(snapshot(mirrored(), THREE), op)

    assert [(type(order), node) for _, node, order, _ in steps.done] == [
        (DiskCreate, NODE1),
        (DiskCreate, NODE2),
        (DiskCreate, NODE3),
    ]
    made = steps.done[0][2]
    assert isinstance(made, DiskCreate) and (made.disk.generation, made.disk.size) == (2, 1024)
    [(name, first)] = steps.firsts.items()
    [instance] = first.put
    assert name == "create-disk/0" and isinstance(instance, Instance)
    assert (instance.disks[0].generation, instance.disks[0].size) == (2, 1024)
    assert [(one.node, one.state) for one in first.mirrors if isinstance(one, ReplicaBecame)] == [
        (NODE1, IN_SYNC),
        (NODE2, SYNCING),
        (NODE3, SYNCING),
    ]
    assert outcome.put == (instance,)
    assert outcome.mirrors == tuple(
        ReplicaBecame(disk=DISK.uuid, node=node, state=IN_SYNC) for node in (NODE2, NODE3)
    )


async def test_one_that_cannot_be_made_is_copied_later() -> None:
    failing = {"create-disk/0/node2.example.com": OperationFailed("its disk is full")}
    outcome, steps = await run(snapshot(mirrored(), THREE), steps=Written(failing))
    assert [one.node for one in outcome.mirrors] == [NODE3]
    assert "copied later: its disk is full" in steps.warnings[0]


@pytest.mark.parametrize(
    ("having", "why", "way"),
    [
        ((NODE1,), "is there, on node node1", "reinstall"),
        ((NODE2,), "node2.example.com still has a replica of it .in-sync", "failover -n node2"),
        (
            (NODE3,),
            "node3.example.com still has a replica of it .stale",
            "failover --ignore-consistency -n node3.example.com web1.example.com takes that one; "
            "or: gnt-instance remove-mirror -f -b sda -p 2",
        ),
    ],
)
async def test_what_is_left_anywhere_is_not_given_up(
    having: tuple[Uuid, ...], why: str, way: str
) -> None:
    with pytest.raises(Rejected, match=why) as caught:
        await run(snapshot(mirrored(), THREE), having=having)
    assert way in caught.value.hint


async def test_a_node_that_is_away_may_have_it() -> None:
    cluster = snapshot(mirrored(), mirror(), nodes={NODE2: GONE})
    with pytest.raises(Rejected, match=r"which has a replica of it .in-sync., does not answer"):
        await run(cluster)


async def test_only_of_a_stopped_instance_and_where_its_replicas_are() -> None:
    with pytest.raises(Rejected, match="mirrored disks are made where their replicas are"):
        check(snapshot(mirrored(), THREE), {**ANEW, "nodes": ("node3",)})
    with pytest.raises(Rejected, match="it is to be up"):
        check(snapshot(UP, mirror(), **running(ready(NODE2))), ANEW)
