"""Whose power may be taken, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model import locks
from gantry.model.entities import AdminState
from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import Order
from gantry.model.power import Health, PowerRun, PowerSaid
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.steps import power
from gantry.ports.steps import Outcome

OOB = {"oob_program": "/usr/local/sbin/oob"}
OFF: dict[str, Any] = {
    "OP_ID": "OP_OOB_COMMAND",
    "command": "power-off",
    "node_names": ["node2"],
}
UP2 = web(2, node=2, admin_state=AdminState.UP)


def cluster(*more: Any, **fields: Any) -> Snapshot:
    return snapshot(*more, ndparams=OOB, **fields)


class Machines(Written):
    """Programs that say what ``answers`` has for a machine."""

    def __init__(self, answers: Mapping[Uuid, PowerSaid | GantryError]) -> None:
        super().__init__()
        self._answers = answers

    async def do(self, name: str, node: Uuid, order: Order[Any], **fields: Any) -> Any:
        await super().do(name, node, order)
        assert isinstance(order, PowerRun)
        answer = self._answers[order.node]
        if isinstance(answer, GantryError):
            raise answer
        return answer


async def run(
    whole: Snapshot, op: dict[str, Any], **answers: PowerSaid | GantryError
) -> tuple[Outcome, Machines]:
    uuids = {"node1": NODE1, "node2": NODE2, "node3": NODE3}
    steps = Machines({uuids[name]: answer for name, answer in answers.items()})
    outcome = await registry.load(op).run(check(whole, op), steps)
    return outcome, steps


def refused(whole: Snapshot, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(whole, {**OFF, **changes})
    return caught.value


async def test_power_is_taken_on_the_masters_node_and_recorded() -> None:
    outcome, steps = await run(cluster(), OFF, node2=PowerSaid(powered=False))
    [(name, through, order, undo)] = steps.done
    assert (name, through, undo) == (f"power-off/{NODE2}", NODE1, None)
    assert isinstance(order, PowerRun)
    assert (order.program, order.machine) == (OOB["oob_program"], "node2.example.com")
    [after] = outcome.put
    assert (after.uuid, getattr(after, "powered", None)) == (NODE2, False)
    assert outcome.result == [[[0, "node2.example.com"], [0, None]]]


def test_switching_keeps_everybody_else_off_the_node() -> None:
    needs = dict(registry.load(OFF).needs(cluster()).locks)
    assert needs[locks.node(NODE2)] is locks.Mode.EXCLUSIVE
    needs = dict(registry.load({**OFF, "command": "power-status"}).needs(cluster()).locks)
    assert needs[locks.node(NODE2)] is locks.Mode.SHARED


@pytest.mark.parametrize("command", ["power-off", "power-cycle"])
def test_guests_are_not_taken_the_power_without_a_word(command: str) -> None:
    whole = cluster(UP2, nodes={NODE2: live(guests=up(2))})
    error = refused(whole, command=command)
    assert "it runs web2.example.com" in error.message
    assert "--ignore-status" in error.hint
    assert check(whole, {**OFF, "command": command, "ignore_status": True})
    for harmless in ("power-on", "power-status", "health"):
        assert check(whole, {**OFF, "command": harmless})


def test_a_node_that_is_silent_may_run_what_it_should() -> None:
    silent = {NODE2: NodeLive(reachable=False)}
    assert "does not answer and may run web2" in refused(cluster(UP2, nodes=silent)).message
    assert check(cluster(UP2, nodes=silent), {**OFF, "ignore_status": True})
    assert check(cluster(web(2, node=2), nodes=silent), OFF), "nothing is to be up there"


def test_the_master_keeps_its_power_unless_forced() -> None:
    assert "it is the master" in refused(cluster(), node_names=["node1"]).message
    assert (
        "it is the master" in refused(cluster(), node_names=["node1"], ignore_status=True).message
    )
    assert check(cluster(), {**OFF, "node_names": ["node1"], "force": True})
    plan = check(cluster(), {**OFF, "node_names": []})
    assert [one.node.uuid for one in plan.targets] == [NODE2, NODE3]
    plan = check(cluster(), {**OFF, "node_names": [], "command": "power-on"})
    assert [one.node.uuid for one in plan.targets] == [NODE1, NODE2, NODE3]


def test_nodes_without_a_program_are_refused_or_left_out() -> None:
    assert "no program" in refused(snapshot()).message
    own = {NODE2: {"ndparams": OOB}}
    assert (
        "node3.example.com has no program"
        in refused(snapshot(change=own), node_names=["node3"]).message
    )
    plan = check(snapshot(change=own), {**OFF, "node_names": [], "command": "power-status"})
    assert [one.order is not None for one in plan.targets] == [False, True, False]
    assert "no program" in refused(snapshot(), node_names=[], command="health").message


def test_nodes_are_switched_on_one_after_the_other() -> None:
    plan = check(cluster(), {**OFF, "node_names": [], "command": "power-on", "power_delay": 7})
    assert [one.order.delay for one in plan.targets if one.order] == [0.0, 7.0, 7.0]


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"timeout": 4000}, {"power_delay": -1}, {"node_names": ["node9"]}]
)
def test_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    refused(cluster(), **wrong)


def test_what_is_no_command_is_refused() -> None:
    with pytest.raises(Rejected):
        registry.load({**OFF, "command": "power-up"})


async def test_one_that_fails_leaves_what_was_done_for_others() -> None:
    op = {**OFF, "node_names": ["node2", "node3"]}
    failure = OperationFailed("no route to the BMC")
    outcome, steps = await run(cluster(), op, node2=failure, node3=PowerSaid(powered=False))
    assert [one.uuid for one in outcome.put] == [NODE3]
    assert outcome.error is not None
    assert "failed for 1 of 2 nodes" in outcome.error.message
    assert steps.warnings == ["node2.example.com: no route to the BMC"]


async def test_a_status_that_fails_is_an_answer() -> None:
    op = {**OFF, "command": "power-status", "node_names": ["node2", "node3"]}
    outcome, _ = await run(
        cluster(), op, node2=OperationFailed("silent"), node3=PowerSaid(powered=True)
    )
    assert (outcome.error, outcome.put) == (None, ())
    assert outcome.result == [
        [[0, "node2.example.com"], [2, None]],
        [[0, "node3.example.com"], [0, {"powered": True}]],
    ]


async def test_a_record_that_is_wrong_is_told_and_not_guessed_at() -> None:
    op = {**OFF, "command": "power-status"}
    outcome, steps = await run(cluster(), op, node2=PowerSaid(powered=False))
    assert outcome.put == ()
    assert steps.warnings == [
        "node2.example.com is off, and its record says on: "
        "gnt-node modify --node-powered=no node2.example.com"
    ]


async def test_health_that_is_bad_is_a_warning() -> None:
    op = {**OFF, "command": "health"}
    said = PowerSaid(health=(("fan", Health.OK), ("psu", Health.CRITICAL)))
    outcome, steps = await run(cluster(), op, node2=said)
    assert outcome.result == [[[0, "node2.example.com"], [0, [["fan", "OK"], ["psu", "CRITICAL"]]]]]
    assert steps.warnings == ["node2.example.com: psu is CRITICAL"]


def test_candidates_have_the_programs_of_all_nodes() -> None:
    whole = cluster(change={NODE2: {"ndparams": {"oob_program": "/other"}}})
    assert power.programs(whole) == ("/other", "/usr/local/sbin/oob")
    assert power.programs(snapshot()) == ()
