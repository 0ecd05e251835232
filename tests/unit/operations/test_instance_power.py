"""Start, stop, reboot and remove: who may, what is done in which order, what is undone."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, NODE2, WEB1, check, facts, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Disk, DiskTemplate, Instance
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.live import GuestState, NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import DiskRemove, GuestForget, GuestStart, GuestStop
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
STOP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}
REBOOT: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REBOOT", "instance_name": "web1"}
REMOVE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"}
ALL = [START, STOP, REBOOT, REMOVE]
UP = web(admin_state=AdminState.UP)
RUNNING = {NODE1: live(guests=up())}
BIG = {"maxmem": 4000, "minmem": 4000}


def refused(cluster: Snapshot, op: dict[str, Any], **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**op, **changes})
    return caught.value


async def run(
    cluster: Snapshot, op: dict[str, Any], steps: Written | None = None
) -> tuple[Outcome, Written]:
    steps = steps or Written()
    operation = registry.load(op)
    return await operation.run(check(cluster, op), steps), steps


def after(outcome: Outcome) -> Instance:
    [one] = outcome.put
    assert isinstance(one, Instance)
    return one


@pytest.mark.parametrize("op", ALL)
def test_refuses_unknown_names(op: dict[str, Any]) -> None:
    error = refused(snapshot(), op, instance_name="web9")
    assert error.reason is Reason.UNKNOWN
    assert "gnt-instance list" in error.hint


@pytest.mark.parametrize("op", ALL)
def test_refuses_ambiguous_names_and_says_what_they_may_be(op: dict[str, Any]) -> None:
    error = refused(snapshot(web(12)), op, instance_name="we")
    assert error.reason is Reason.NOT_UNIQUE
    assert "web1.example.com, web12.example.com" in error.message


@pytest.mark.parametrize("op", ALL)
@pytest.mark.parametrize("name", ["web1", "WEB1.example.com", "web1.example.com.", WEB1])
def test_takes_short_names_and_uuids(op: dict[str, Any], name: str) -> None:
    assert check(snapshot(web(12)), {**op, "instance_name": name}).instance.uuid == WEB1


@pytest.mark.parametrize("op", ALL)
def test_refuses_where_the_agent_does_not_answer(op: dict[str, Any]) -> None:
    error = refused(snapshot(nodes={NODE1: NodeLive(reachable=False, problem="refused")}), op)
    assert error.node == "node1.example.com"
    assert "systemctl start gantry-agent" in error.hint


@pytest.mark.parametrize("op", [START, STOP, REBOOT])
def test_refuses_an_offline_node(op: dict[str, Any]) -> None:
    assert "is marked offline" in refused(snapshot(change={NODE1: {"offline": True}}), op).message


@pytest.mark.parametrize("op", [START, STOP, REBOOT])
def test_refuses_an_instance_that_is_set_aside(op: dict[str, Any]) -> None:
    cluster = snapshot(web(admin_state=AdminState.OFFLINE))
    assert "--online" in refused(cluster, op).hint


@pytest.mark.parametrize("op", [START, REBOOT])
def test_never_starts_what_runs_on_another_node(op: dict[str, Any]) -> None:
    error = refused(snapshot(UP, nodes={NODE2: live(guests=up())}), op)
    assert error.message.startswith("instance web1.example.com runs on node node2.example.com")


@pytest.mark.parametrize(("op", "field"), [(STOP, "timeout"), (REBOOT, "shutdown_timeout"),
                                           (REMOVE, "shutdown_timeout")])  # fmt: skip
@pytest.mark.parametrize("seconds", [-1, 86401])
def test_refuses_time_limits_that_are_none(op: dict[str, Any], field: str, seconds: int) -> None:
    assert "0 to 86400 seconds" in refused(snapshot(), op, **{field: seconds}).message


class TestStart:
    async def test_starts_and_marks_as_up(self) -> None:
        outcome, steps = await run(snapshot(), START)
        [(name, node, order, undo)] = steps.done
        assert (name, node) == ("start-guest", NODE1)
        assert isinstance(order, GuestStart)
        assert isinstance(undo, GuestStop)
        assert undo.force
        assert after(outcome).admin_state is AdminState.UP
        assert after(outcome).serial_no == 2

    async def test_leaves_the_mark_where_that_was_asked_for(self) -> None:
        outcome, _ = await run(snapshot(), {**START, "no_remember": True})
        assert outcome.put == ()

    async def test_only_marks_what_runs_already(self) -> None:
        outcome, steps = await run(snapshot(nodes=RUNNING), START)
        assert steps.done == []
        assert "is running already" in steps.warnings[0]
        assert after(outcome).admin_state is AdminState.UP

    async def test_only_marks_on_an_offline_node_where_that_was_asked_for(self) -> None:
        cluster = snapshot(change={NODE1: {"offline": True}})
        outcome, steps = await run(cluster, {**START, "ignore_offline_nodes": True})
        assert steps.done == []
        assert after(outcome).admin_state is AdminState.UP
        op = {**START, "ignore_offline_nodes": True, "no_remember": True}
        assert "nothing to do" in refused(cluster, op).message

    def test_supervision_starts_nothing_that_was_taken_down_meanwhile(self) -> None:
        assert "not to be up" in refused(snapshot(), START, if_needed=True).message

    def test_claims_memory_only_where_it_does_not_count_yet(self) -> None:
        assert check(snapshot(), START).claims == (Claim(node=NODE1, memory=128),)
        assert check(snapshot(UP), START).claims == ()

    def test_refuses_more_memory_than_is_left(self) -> None:
        other = web(2, admin_state=AdminState.UP, beparams=BIG)
        assert refused(snapshot(other), START).reason is Reason.NO_RESOURCES

    def test_starts_again_what_counts_already_though_the_node_is_promised_too_much(self) -> None:
        others = [web(n, admin_state=AdminState.UP, beparams=BIG) for n in (2, 3)]
        assert check(snapshot(UP, *others), START).spec is not None

    def test_counts_what_is_asked_for_this_once(self) -> None:
        op = {**START, "beparams": {"maxmem": "8G"}}
        assert "needs 8064 MiB" in refused(snapshot(UP), op).message
        assert check(snapshot(), {**START, "beparams": {"maxmem": 256}}).spec.memory == 256

    def test_default_for_this_once_is_the_clusters_setting(self) -> None:
        own = web(beparams={"maxmem": 512, "minmem": 512}, hvparams={"migration_mode": "non-live"})
        op = {**START, "beparams": {"memory": "default"}, "hvparams": {"migration_mode": "default"}}
        spec = check(snapshot(own), op).spec
        assert spec.memory == 128
        assert spec.hvparams["migration_mode"] == "live"

    def test_refuses_parameters_that_do_not_exist(self) -> None:
        assert "has no parameter" in refused(snapshot(), START, hvparams={"kernel": "x"}).message


class TestStop:
    async def test_stops_and_marks_as_down_and_would_start_again(self) -> None:
        outcome, steps = await run(snapshot(UP, nodes=RUNNING), {**STOP, "timeout": 7})
        [(_, _, order, undo)] = steps.done
        assert isinstance(order, GuestStop)
        assert (order.timeout, order.force) == (7.0, False)
        assert isinstance(undo, GuestStart)
        assert after(outcome).admin_state is AdminState.DOWN
        assert after(outcome).admin_state_source == "admin"

    async def test_would_not_start_what_did_not_run(self) -> None:
        _, steps = await run(snapshot(UP), STOP)
        assert steps.done[0][3] is None

    async def test_only_marks_on_an_offline_node_where_that_was_asked_for(self) -> None:
        cluster = snapshot(UP, change={NODE1: {"offline": True}})
        outcome, steps = await run(cluster, {**STOP, "ignore_offline_nodes": True})
        assert steps.done == []
        assert after(outcome).admin_state is AdminState.DOWN

    async def test_leaves_the_mark_where_that_was_asked_for(self) -> None:
        outcome, _ = await run(snapshot(UP, nodes=RUNNING), {**STOP, "no_remember": True})
        assert outcome.put == ()

    def test_a_users_shutdown_never_stops_what_was_started_since(self) -> None:
        op = {**STOP, "admin_state_source": "user"}
        assert "is running again" in refused(snapshot(UP, nodes=RUNNING), op).message
        shut = {NODE1: live(guests=up(state=GuestState.SHUT_DOWN))}
        assert check(snapshot(UP, nodes=shut), op)

    def test_refuses_sources_that_do_not_exist(self) -> None:
        refused(snapshot(UP), STOP, admin_state_source="me")

    def test_force_stops_what_is_set_aside(self) -> None:
        assert check(snapshot(web(admin_state=AdminState.OFFLINE)), {**STOP, "force": True})


class TestReboot:
    async def test_soft_resets_what_runs(self) -> None:
        outcome, steps = await run(snapshot(UP, nodes=RUNNING), {**REBOOT, "reboot_type": "soft"})
        assert steps.names == ["reset-guest"]
        assert outcome.put == ()

    @pytest.mark.parametrize("kind", ["hard", "full"])
    async def test_others_make_a_new_process(self, kind: str) -> None:
        _, steps = await run(snapshot(UP, nodes=RUNNING), {**REBOOT, "reboot_type": kind})
        assert steps.names == ["stop-guest", "start-guest"]
        assert isinstance(steps.done[0][3], GuestStart)
        assert isinstance(steps.done[1][3], GuestStop)

    @pytest.mark.parametrize("kind", ["soft", "hard"])
    async def test_starts_what_does_not_run(self, kind: str) -> None:
        outcome, steps = await run(snapshot(), {**REBOOT, "reboot_type": kind})
        assert steps.names == ["start-guest"]
        assert after(outcome).admin_state is AdminState.UP

    def test_refuses_kinds_that_do_not_exist(self) -> None:
        assert "reboot_type" in refused(snapshot(), REBOOT, reboot_type="warm").message

    def test_claims_the_memory_of_what_was_down(self) -> None:
        assert check(snapshot(), REBOOT).claims == (Claim(node=NODE1, memory=128),)
        assert check(snapshot(UP), REBOOT).claims == ()


class TestRemove:
    DISK = Disk(
        uuid=Uuid("d"), size=1, template=DiskTemplate.FILE, path="/srv/ganeti/file-storage/a/d"
    )

    async def test_stops_then_goes_and_its_disks_after_it(self) -> None:
        one = web(admin_state=AdminState.UP, disks=(self.DISK,), disk_template=DiskTemplate.FILE)
        outcome, steps = await run(snapshot(one, nodes=RUNNING), REMOVE)
        assert steps.names == ["stop-guest"]
        assert outcome.delete == (one,)
        assert [type(undo.order) for undo in outcome.cleanup] == [DiskRemove, GuestForget]

    async def test_on_an_offline_node_the_disks_go_when_it_is_back(self) -> None:
        outcome, steps = await run(snapshot(change={NODE1: {"offline": True}}), REMOVE)
        assert steps.done == []
        assert "when the node is back" in steps.warnings[0]
        assert outcome.cleanup

    async def test_a_stop_that_fails_keeps_it_unless_failures_are_to_be_ignored(self) -> None:
        failing = {"stop-guest": OperationFailed("no")}
        with pytest.raises(OperationFailed):
            await run(snapshot(UP, nodes=RUNNING), REMOVE, Written(failing))
        op = {**REMOVE, "ignore_failures": True}
        outcome, steps = await run(snapshot(UP, nodes=RUNNING), op, Written(failing))
        assert outcome.delete
        assert "could not stop it" in steps.warnings[0]


def test_a_node_that_has_not_said_its_facts_is_not_measured() -> None:
    assert check(snapshot(nodes={NODE1: NodeLive(reachable=True)}), START).spec is not None


def test_the_memory_that_the_node_uses_itself_counts() -> None:
    nodes = {NODE1: live(facts(memory_node=4000))}
    assert refused(snapshot(nodes=nodes), START).reason is Reason.NO_RESOURCES
