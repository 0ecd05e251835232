"""Nodes: how they come, what they may be, and when they may go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, live, snapshot, up, web
from tests.unit.operations.steps import Written

from gantry.model import locks, timeouts
from gantry.model.entities import AllocPolicy, Group, Joined, Node, Token
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.live import GuestLive, NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import GuestList, NodeLeave, ReadGuests
from gantry.model.snapshot import Snapshot
from gantry.operations import registry

NEW = Uuid("30000000-0000-4000-8000-000000000001")
MACHINE = Joined(uuid=NEW, name="node4.example.com", primary_ip="127.1.0.4", port=1812)
TOKEN = Token(
    uuid=Uuid("40000000-0000-4000-8000-000000000001"),
    name="node4.example.com",
    secret_hash="5" * 64,
    expires=5001.0,
)
ADD: dict[str, Any] = {"OP_ID": "OP_NODE_ADD", "node_name": "node4.example.com"}
JOIN: dict[str, Any] = {
    "OP_ID": "OP_NODE_JOIN",
    "secret_hash": "5" * 64,
    "node_uuid": NEW,
    "primary_ip": "127.1.0.4",
}


def modify(cluster: Snapshot, name: str = "node2", **fields: Any) -> Any:
    if fields.get("offline"):
        fields.setdefault("powered_off", True)
    return check(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": name, **fields})


def told(cluster: Snapshot, op: dict[str, Any]) -> Mapping[str, Any]:
    """What scripts are told of the change."""
    subject = registry.load(op).subject(check(cluster, op), cluster)
    assert subject is not None
    return subject.values


def refused(cluster: Snapshot, op: dict[str, Any], **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**op, **changes})
    return caught.value


def not_modified(cluster: Snapshot, name: str = "node2", **fields: Any) -> str:
    with pytest.raises(Rejected) as caught:
        modify(cluster, name, **fields)
    return caught.value.message


class Agent:
    """One that has these guests; None: it does not answer."""

    limits: ClassVar[set[float]] = set()
    secrets: ClassVar[dict[str, str]] = {}

    def __init__(self, guests: Iterable[GuestLive] | None) -> None:
        self._guests = guests

    async def ask(self, node: Uuid, question: Any, timeout: float) -> Any:
        assert (node, question) == (NODE2, ReadGuests())
        self.limits.add(timeout)
        if self._guests is None:
            raise Unavailable("it does not answer")
        return GuestList(guests=tuple(self._guests))

    def warn(self, text: str) -> None:
        raise AssertionError(text)


async def offline(cluster: Snapshot, agent: Agent) -> Any:
    """The plan of marking node2 offline."""
    op = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True, "powered_off": True}
    return await registry.load(op).examine(check(cluster, op), cluster, agent)


class TestAdd:
    def test_a_machine_that_joined_becomes_a_node(self) -> None:
        plan = check(snapshot(MACHINE), ADD)
        node = plan.node
        assert (node.uuid, node.name, node.port) == (NEW, "node4.example.com", 1812)
        assert (node.primary_ip, node.secondary_ip) == ("127.1.0.4", "127.1.0.4")
        assert node.master_candidate
        assert plan.joined == MACHINE

    def test_it_becomes_no_candidate_where_there_are_enough(self) -> None:
        assert not check(snapshot(MACHINE, candidate_pool_size=3), ADD).node.master_candidate

    def test_what_cannot_be_master_is_no_candidate(self) -> None:
        assert not check(snapshot(MACHINE), {**ADD, "master_capable": False}).node.master_candidate

    def test_refuses_a_machine_that_has_not_joined(self) -> None:
        error = refused(snapshot(), ADD)
        assert "has not joined yet" in error.message
        assert "gantry token node4.example.com > FILE" in error.hint

    def test_refuses_a_node_that_is_there(self) -> None:
        assert refused(snapshot(), ADD, node_name="node2.example.com").reason is Reason.EXISTS

    def test_refuses_another_address_than_the_machine_joined_with(self) -> None:
        assert (
            "joined with address" in refused(snapshot(MACHINE), ADD, primary_ip="10.0.0.1").message
        )
        assert check(snapshot(MACHINE), {**ADD, "primary_ip": "127.1.0.4"})

    def test_refuses_addresses_of_other_nodes(self) -> None:
        error = refused(snapshot(MACHINE), ADD, secondary_ip="127.1.0.2")
        assert error.message == "address 127.1.0.2 is that of node node2.example.com"
        same = msgspec.structs.replace(MACHINE, primary_ip="127.1.0.3")
        error = refused(snapshot(same), ADD, secondary_ip="10.9.9.9")
        assert error.message == "address 127.1.0.3 is that of node node3.example.com"

    def test_refuses_the_name_of_an_instance(self) -> None:
        cluster = snapshot(MACHINE, web(4, name="node4.example.com"))
        assert refused(cluster, ADD).reason is Reason.NOT_UNIQUE

    @pytest.mark.parametrize("name", ["../x", "", "a b"])
    def test_refuses_names_that_are_no_host_names(self, name: str) -> None:
        assert "is not a host name" in refused(snapshot(), ADD, node_name=name).message

    def test_refuses_unknown_groups_and_parameters(self) -> None:
        refused(snapshot(MACHINE), ADD, group="other")
        refused(snapshot(MACHINE), ADD, ndparams={"colour": "red"})
        assert check(snapshot(MACHINE), {**ADD, "group": "default"})

    def test_a_node_that_is_back_is_neither_offline_nor_drained(self) -> None:
        cluster = snapshot(change={NODE2: {"offline": True}})
        plan = check(cluster, {**ADD, "node_name": "node2.example.com", "readd": True})
        assert not plan.node.offline
        assert plan.node.uuid == NODE2

    def test_a_node_that_was_made_anew_keeps_its_identity_and_gets_its_new_address(self) -> None:
        again = Joined(uuid=NODE2, name="node2.example.com", primary_ip="127.1.0.9", port=1899)
        plan = check(snapshot(again), {**ADD, "node_name": "node2.example.com", "readd": True})
        node = plan.node
        assert (node.uuid, node.primary_ip, node.secondary_ip) == (NODE2, "127.1.0.9", "127.1.0.9")
        assert node.port == 1899
        assert plan.joined == again

    def test_a_node_that_joined_under_another_identity_is_not_taken_for_the_old_one(self) -> None:
        other = Joined(uuid=NEW, name="node2.example.com", primary_ip="127.1.0.9", port=1)
        op = {**ADD, "node_name": "node2.example.com", "readd": True}
        assert "join it again" in refused(snapshot(other), op).hint


class TestJoin:
    async def test_a_token_lets_a_machine_in_once(self) -> None:
        operation = registry.load(JOIN)
        plan = check(snapshot(TOKEN), JOIN)
        outcome = await operation.run(plan, Written())
        assert outcome.delete == (TOKEN,)
        assert outcome.result == ["node4.example.com", NEW]
        assert plan.reserve == (f"token/{TOKEN.uuid}",)

    def test_a_node_that_was_made_anew_is_itself_again(self) -> None:
        token = msgspec.structs.replace(TOKEN, name="node2.example.com")
        assert check(snapshot(token), JOIN).joined.uuid == NODE2

    @pytest.mark.parametrize("fields", [{"secret_hash": "6" * 64}, {"secret_hash": ""}])
    def test_refuses_another_secret(self, fields: dict[str, Any]) -> None:
        assert "token is not valid" in refused(snapshot(TOKEN), JOIN, **fields).message

    def test_refuses_a_token_that_is_too_old(self) -> None:
        late = msgspec.structs.replace(TOKEN, expires=4999.0)
        assert "older than an hour" in refused(snapshot(late), JOIN).message

    @pytest.mark.parametrize(
        "fields",
        [{"node_uuid": "../x"}, {"port": 0}, {"port": 65536}, {"primary_ip": "node4"}],
    )
    def test_refuses_requests_that_are_not_well_formed(self, fields: dict[str, Any]) -> None:
        refused(snapshot(TOKEN), JOIN, **fields)


class TestToken:
    OP: dict[str, Any] = {"OP_ID": "OP_TOKEN_CREATE", "node_name": "N4", "secret_hash": "a" * 64}  # noqa: RUF012

    def test_lasts_an_hour_and_clears_those_that_are_too_old(self) -> None:
        late = msgspec.structs.replace(TOKEN, expires=4999.0)
        plan = check(snapshot(late), self.OP)
        assert (plan.token.name, plan.token.expires) == ("n4", 5000.0 + 3600)
        assert plan.stale == (late,)

    def test_refuses_what_is_no_hash_and_names_of_instances(self) -> None:
        refused(snapshot(), self.OP, secret_hash="secret")
        refused(snapshot(), self.OP, node_name="web1.example.com")
        refused(snapshot(), self.OP, node_name="../x")


class TestModify:
    @pytest.mark.parametrize("role", ["offline", "drained"])
    def test_a_node_has_one_role(self, role: str) -> None:
        asked: dict[str, Any] = {role: True}
        after = modify(snapshot(), **asked).after
        assert getattr(after, role)
        assert not after.master_candidate

    def test_the_one_role_takes_the_place_of_the_other(self) -> None:
        after = modify(snapshot(change={NODE2: {"drained": True}}), offline=True).after
        assert (after.offline, after.drained) == (True, False)
        after = modify(snapshot(change={NODE2: {"offline": True}}), master_candidate=True).after
        assert (after.offline, after.master_candidate) == (False, True)

    def test_refuses_two_roles_at_once(self) -> None:
        assert "only one" in not_modified(snapshot(), offline=True, drained=True)
        assert "only one" in not_modified(snapshot(), offline=True, master_candidate=True)

    @pytest.mark.parametrize("role", ["offline", "drained"])
    def test_a_node_that_is_back_is_a_candidate_where_there_is_room(self, role: str) -> None:
        asked: dict[str, Any] = {role: False}
        changes = {NODE2: {role: True, "master_candidate": False}}
        assert modify(snapshot(change=changes), **asked).after.master_candidate
        assert not modify(
            snapshot(change=changes, candidate_pool_size=2), **asked
        ).after.master_candidate
        kept = modify(snapshot(change=changes), **asked, master_candidate=False)
        assert not kept.after.master_candidate
        changes[NODE2]["master_capable"] = False
        assert not modify(snapshot(change=changes), **asked).after.master_candidate

    def test_a_word_that_changes_nothing_promotes_nobody(self) -> None:
        regular = snapshot(change={NODE2: {"master_candidate": False}})
        assert not modify(regular, offline=False).after.master_candidate
        assert modify(
            snapshot(change={NODE2: {"master_capable": False, "master_candidate": False}}),
            master_capable=True,
        ).after.master_candidate

    @pytest.mark.parametrize("role", ["offline", "drained"])
    def test_another_node_takes_the_place_of_a_candidate_that_goes(self, role: str) -> None:
        asked: dict[str, Any] = {role: True}
        small = snapshot(change={NODE3: {"master_candidate": False}}, candidate_pool_size=2)
        plan = modify(small, **asked)
        assert [(one.name, one.master_candidate) for one in plan.promoted] == [
            ("node3.example.com", True)
        ]
        op = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "powered_off": True, **asked}
        needs = dict(registry.load(op).needs(small).locks)
        assert needs[locks.node(NODE3)] is locks.Mode.EXCLUSIVE
        assert needs[locks.CANDIDATES] is locks.Mode.EXCLUSIVE
        assert not modify(snapshot(), **asked).promoted, "there is nobody"

    def test_who_is_drained_offline_or_unable_takes_no_place(self) -> None:
        for change in ({"offline": True}, {"drained": True}, {"master_capable": False}):
            cluster = snapshot(change={NODE3: {"master_candidate": False, **change}})
            assert not modify(cluster, offline=True).promoted

    def test_a_demotion_that_leaves_too_few_needs_a_word(self) -> None:
        small = snapshot(change={NODE3: {"master_candidate": False}}, candidate_pool_size=2)
        assert "not enough" in not_modified(small, master_candidate=False)
        assert "not enough" in not_modified(small, master_capable=False)
        plan = modify(small, master_candidate=False, auto_promote=True)
        assert [one.name for one in plan.promoted] == ["node3.example.com"]
        large = snapshot(change={NODE3: {"master_candidate": False}}, candidate_pool_size=1)
        assert not modify(large, master_candidate=False).promoted

    def test_the_last_candidate_stays(self) -> None:
        nobody = {"master_candidate": False}
        cluster = snapshot(change={NODE1: nobody, NODE3: nobody})
        assert "the only master candidate" in not_modified(cluster, master_candidate=False)

    @pytest.mark.parametrize("role", ["offline", "drained"])
    def test_the_master_stays_in_service(self, role: str) -> None:
        assert "is the master" in not_modified(
            snapshot(), "node1", offline=role == "offline", drained=role == "drained"
        )

    def test_the_master_stays_a_candidate(self) -> None:
        assert "stays a candidate" in not_modified(snapshot(), "node1", master_candidate=False)
        assert "stays a candidate" in not_modified(snapshot(), "node1", master_capable=False)

    def test_only_what_can_be_master_is_a_candidate(self) -> None:
        cluster = snapshot(change={NODE2: {"master_capable": False, "master_candidate": False}})
        assert "not master_capable" in not_modified(cluster, master_candidate=True)
        assert not modify(snapshot(), master_capable=False).after.master_candidate

    def test_a_node_with_instances_stays_vm_capable(self) -> None:
        assert "has instances" in not_modified(snapshot(), "node1", vm_capable=False)
        assert not modify(snapshot(), vm_capable=False).after.vm_capable

    def test_a_node_with_instances_may_be_drained_and_offline(self) -> None:
        cluster = snapshot(web(2, node=2))
        assert modify(cluster, drained=True)
        assert modify(cluster, offline=True)

    def test_refuses_to_change_nothing(self) -> None:
        assert not_modified(snapshot()) == "nothing to change"

    def test_refuses_another_nodes_address(self) -> None:
        assert "is that of node" in not_modified(snapshot(), secondary_ip="127.1.0.3")
        assert modify(snapshot(), secondary_ip="127.1.0.2").after.secondary_ip == "127.1.0.2"

    def test_parameters_are_merged_and_default_takes_them_away(self) -> None:
        cluster = snapshot(change={NODE2: {"ndparams": {"ssh_port": 2222}}})
        after = modify(cluster, ndparams={"spindle_count": 3}).after
        assert after.ndparams == {"ssh_port": 2222, "spindle_count": 3}
        assert modify(cluster, ndparams={"ssh_port": "default"}).after.ndparams == {}

    @pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e999", True, None, "x"])
    def test_refuses_numbers_that_are_none(self, value: object) -> None:
        not_modified(snapshot(), ndparams={"cpu_speed": value})

    def test_scripts_see_a_promotion_and_not_what_follows_from_another_role(self) -> None:
        away = snapshot(change={NODE2: {"offline": True, "master_candidate": False}})
        op = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": False}
        values = told(away, op)
        assert (values["MASTER_CANDIDATE"], values["OFFLINE"]) == (True, False)
        op |= {"offline": True, "powered_off": True}
        values = told(snapshot(), op)
        assert (values["MASTER_CANDIDATE"], values["OFFLINE"]) == (None, True)

    def test_who_marks_it_offline_says_that_it_is_off(self) -> None:
        assert "certainly powered off" in not_modified(snapshot(), offline=True, powered_off=False)
        away = snapshot(change={NODE2: {"offline": True}})
        assert modify(away, offline=True, powered_off=False), "it is so already"

    async def test_a_node_whose_guests_answer_is_not_off(self) -> None:
        """It is asked: what was heard of it may be from before its death, or after it."""
        heard = snapshot(web(2, node=2), nodes={NODE2: live(guests=up(2))})
        lost = snapshot(nodes={NODE2: NodeLive(reachable=False, guests=up(2))})
        for cluster in (heard, lost):
            with pytest.raises(Rejected, match=r"its agent answers, and web2\.example\.com run"):
                await offline(cluster, Agent(up(2).values()))
            assert (await offline(cluster, Agent(None))).after.offline
            assert (await offline(cluster, Agent([]))).after.offline
        assert Agent.limits == {timeouts.STILL_THERE}
        assert timeouts.EVENT_HEARTBEAT < timeouts.STILL_THERE < timeouts.NODE_DOWN_AFTER

    async def test_a_node_that_is_not_marked_offline_is_not_asked(self) -> None:
        plan, cluster = modify(snapshot(), drained=True), snapshot()
        operation = registry.load(
            {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "drained": True}
        )
        assert await operation.examine(plan, cluster, Agent(up(2).values())) == plan

    def test_power_is_recorded_only_where_a_program_switches_it(self) -> None:
        assert "no program" in not_modified(snapshot(), powered=False)
        cluster = snapshot(ndparams={"oob_program": "/oob"})
        plan = modify(cluster, powered=False, offline=True, powered_off=False)
        assert (plan.after.powered, plan.after.offline) == (False, True)
        assert modify(cluster, powered=True).after.powered

    def test_a_node_is_switched_on_before_it_is_back(self) -> None:
        off = {NODE2: {"powered": False, "offline": True}}
        cluster = snapshot(ndparams={"oob_program": "/oob"}, change=off)
        assert "recorded as powered off" in not_modified(cluster, offline=False)
        assert not modify(cluster, offline=False, powered=True).after.offline
        assert not modify(snapshot(change=off), offline=False).after.offline, "nobody switches it"

    def test_a_program_is_an_absolute_path(self) -> None:
        for wrong in ("oob", "/a/../b", "/a b\n"):
            not_modified(snapshot(), ndparams={"oob_program": wrong})
        after = modify(snapshot(), ndparams={"oob_program": "/usr/local/sbin/oob"}).after
        assert after.ndparams == {"oob_program": "/usr/local/sbin/oob"}
        none = modify(snapshot(), ndparams={"oob_program": ""}).after
        assert none.ndparams == {"oob_program": ""}

    async def test_tells_what_changed(self) -> None:
        op = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "drained": True}
        outcome = await registry.load(op).run(check(snapshot(), op), Written())
        assert sorted(outcome.result) == [["drained", True], ["master_candidate", False]]


class TestRemove:
    OP: dict[str, Any] = {"OP_ID": "OP_NODE_REMOVE", "node_name": "node3"}  # noqa: RUF012

    async def test_another_node_becomes_a_candidate_in_its_place(self) -> None:
        cluster = snapshot(change={NODE2: {"master_candidate": False}}, candidate_pool_size=2)
        outcome = await registry.load(self.OP).run(check(cluster, self.OP), Written())
        (promoted,) = outcome.put
        assert isinstance(promoted, Node)
        assert (promoted.name, promoted.master_candidate) == ("node2.example.com", True)

    async def test_goes_and_is_told_to_leave(self) -> None:
        plan = check(snapshot(), self.OP)
        outcome = await registry.load(self.OP).run(plan, Written())
        assert [one.uuid for one in outcome.delete] == [NODE3]
        [undo] = outcome.cleanup
        assert isinstance(undo.order, NodeLeave)

    async def test_a_node_that_does_not_answer_is_not_told(self) -> None:
        plan = check(snapshot(nodes={NODE3: NodeLive(reachable=False)}), self.OP)
        steps = Written()
        outcome = await registry.load(self.OP).run(plan, steps)
        assert outcome.cleanup == ()
        assert "was not told" in steps.warnings[0]

    def test_refuses_the_master_and_nodes_with_instances(self) -> None:
        assert "is the master" in refused(snapshot(), self.OP, node_name="node1").message
        error = refused(snapshot(web(2, node=3)), self.OP)
        assert error.message.endswith("still has 1 instance(s): web2.example.com")
        error = refused(snapshot(web(2, node=2, secondary_nodes=(NODE3,))), self.OP)
        assert "still has 1 instance(s)" in error.message

    def test_takes_the_whole_cluster_and_the_node(self) -> None:
        needs = dict(registry.load(self.OP).needs(snapshot()).locks)
        assert needs == {locks.CLUSTER: "exclusive", locks.node(NODE3): "exclusive"}

    def test_refuses_unknown_and_ambiguous_names(self) -> None:
        assert refused(snapshot(), self.OP, node_name="node9").reason is Reason.UNKNOWN
        assert refused(snapshot(), self.OP, node_name="node").reason is Reason.NOT_UNIQUE


def test_an_unallocable_group_takes_no_new_instance() -> None:
    from tests.unit.operations.scene import ADD as ADD_INSTANCE

    group = next(iter(snapshot().groups.values()))
    other = Group(uuid=Uuid("g"), name="other", alloc_policy=AllocPolicy.LAST_RESORT)
    closed = msgspec.structs.replace(group, alloc_policy=AllocPolicy.UNALLOCABLE)
    cluster = snapshot(closed, other, change={NODE2: {"group": other.uuid}})
    assert check(cluster, ADD_INSTANCE).instance.primary_node == NODE2
    cluster = snapshot(other, change={NODE2: {"group": other.uuid}})
    assert check(cluster, ADD_INSTANCE).instance.primary_node in (NODE1, NODE3)
