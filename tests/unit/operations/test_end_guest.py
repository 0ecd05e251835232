"""Ending guests that belong to no instance: which ones, and never another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.scene import NODE1, NODE2, check, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model import locks
from gantry.model.entities import AdminState
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive, GuestState, NodeLive
from gantry.model.locks import Mode
from gantry.model.names import Uuid
from gantry.model.orders import GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations import registry

STRAY = Uuid("00000000-0000-4000-8000-00000000000f")
OTHER = Uuid("00000000-0000-4000-8000-00000000000e")
OP: dict[str, Any] = {"OP_ID": "OP_NODE_END_GUEST", "node_name": "node2", "guest": STRAY}


def guests(*uuids: Uuid, name: str = "stray.example.com") -> NodeLive:
    return live(
        guests={uuid: GuestLive(uuid=uuid, name=name, state=GuestState.RUNNING) for uuid in uuids}
    )


def refused(cluster: Snapshot, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**OP, **changes})
    return caught.value


async def test_a_stranger_is_told_to_end_after_the_commit_and_forgotten() -> None:
    cluster = snapshot(nodes={NODE2: guests(STRAY)})
    operation = registry.load({**OP, "guest": "Stray.example.com", "shutdown_timeout": 0})
    # Also that of an instance of its name which is just being made.
    held = {lock for lock, mode in operation.needs(cluster).locks if mode is Mode.EXCLUSIVE}
    assert held == {locks.instance(STRAY), locks.instance("stray.example.com")}
    steps = Written()
    outcome = await operation.run(check(cluster, OP), steps)
    assert (steps.done, outcome.put, outcome.delete) == ([], (), ())
    [undo] = outcome.cleanup
    assert (undo.node, undo.order) == (
        NODE2,
        GuestStop(uuid=STRAY, hypervisor="fake", timeout=0.0, force=True, forget=True),
    )


def test_the_guest_of_an_instance_on_its_node_is_not_ended() -> None:
    error = refused(snapshot(nodes={NODE1: live(guests=up())}), node_name="node1", guest="web1")
    assert (error.reason, "web1" in error.message) == (Reason.UNKNOWN, True)
    cluster = snapshot(nodes={NODE1: live(guests=up())})
    error = refused(cluster, node_name="node1", guest="web1.example.com")
    assert (error.reason, error.hint.split(",")[0]) == (
        Reason.STATE,
        "gnt-instance shutdown web1.example.com",
    )


def test_the_guest_of_an_instance_on_another_node_is_ended() -> None:
    one = web(admin_state=AdminState.UP)
    plan = check(snapshot(one, nodes={NODE2: live(guests=up())}), {**OP, "guest": one.uuid})
    assert (plan.node.uuid, plan.guest.uuid) == (NODE2, one.uuid)


def test_a_name_that_two_guests_have_is_not_enough() -> None:
    error = refused(snapshot(nodes={NODE2: guests(STRAY, OTHER)}), guest="stray.example.com")
    assert (error.reason, STRAY in error.message, error.hint) == (
        Reason.NOT_UNIQUE,
        True,
        "give the uuid",
    )


def test_what_is_not_there_or_cannot_be_reached_is_refused() -> None:
    assert refused(snapshot()).reason is Reason.UNKNOWN
    away = msgspec.structs.replace(guests(STRAY), reachable=False)
    assert "does not answer" in refused(snapshot(nodes={NODE2: away})).message
    assert refused(snapshot(nodes={NODE2: guests(STRAY)}), shutdown_timeout=-1)
