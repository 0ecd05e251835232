"""The cluster's settings, its end, tags, and the operations for tests."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, snapshot, web
from tests.unit.operations.steps import Written

from gantry.model.entities import DiskTemplate, HypervisorName
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.base import AnyOperation
from gantry.operations.registry import PLACES


def modify(cluster: Snapshot | None = None, **fields: Any) -> Any:
    return check(cluster or snapshot(), {"OP_ID": "OP_CLUSTER_SET_PARAMS", **fields}).after


def refused(op: dict[str, Any], cluster: Snapshot | None = None) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster or snapshot(), op)
    return caught.value


def not_modified(cluster: Snapshot | None = None, **fields: Any) -> str:
    return refused({"OP_ID": "OP_CLUSTER_SET_PARAMS", **fields}, cluster).message


class TestModify:
    def test_refuses_to_change_nothing(self) -> None:
        assert "nothing to change" in not_modified()
        assert "nothing to change" in not_modified(hooks_version=1)
        assert "nothing to change" in not_modified(hidden_os=[["remove", "noop"]])

    def test_default_takes_a_setting_away(self) -> None:
        cluster = snapshot(beparams={"vcpus": 2}, hvparams={"kvm": {"acpi": False}})
        assert modify(cluster, beparams={"vcpus": "default"}).beparams == {}
        assert modify(cluster, hvparams={"kvm": {"acpi": "default"}}).hvparams == {"kvm": {}}

    def test_lists_of_os_definitions_are_added_to_and_removed_from(self) -> None:
        cluster = snapshot(blacklisted_os=("b",))
        after = modify(
            cluster, blacklisted_os=[["add", "a"], ["remove", "b"]], hidden_os=[["add", "c+d"]]
        )
        assert (after.blacklisted_os, after.hidden_os) == (("a",), ("c+d",))
        assert "neither add nor remove" in not_modified(hidden_os=[["hide", "a"]])
        assert "is not the name" in not_modified(hidden_os=[["add", "../a"]])

    def test_parameters_of_hypervisors_can_be_set_for_an_os(self) -> None:
        after = modify(os_hvp={"noop": {"kvm": {"kernel_path": "/boot/x"}}})
        assert after.os_hvp == {"noop": {"kvm": {"kernel_path": "/boot/x"}}}
        assert "no hypervisor" in not_modified(os_hvp={"noop": {"xen": {}}})
        assert "no parameter" in not_modified(os_hvp={"noop": {"kvm": {"kernel": "x"}}})
        assert "is not the name" in not_modified(os_hvp={"../noop": {"kvm": {}}})

    def test_os_parameters_are_kept_by_os_and_vanish_with_the_last(self) -> None:
        after = modify(osparams={"noop": {"a": "1"}})
        assert after.osparams == {"noop": {"a": "1"}}
        assert (
            modify(snapshot(osparams=after.osparams), osparams={"noop": {"a": "default"}}).osparams
            == {}
        )

    @pytest.mark.parametrize(
        "prefix", ["01:00:00", "aa:00", "aa:00:00:00", "zz:00:00", "", "aa-00-00"]
    )
    def test_refuses_what_is_no_prefix_of_unicast_addresses(self, prefix: str) -> None:
        assert "cannot be a MAC prefix" in not_modified(mac_prefix=prefix)

    def test_a_prefix_is_kept_in_lower_case(self) -> None:
        assert modify(mac_prefix="02:AB:CD").mac_prefix == "02:ab:cd"

    @pytest.mark.parametrize("path", ["srv", "/srv/../etc", "/srv//x", "/", "/srv/\n", "/a/./b"])
    def test_refuses_directories_that_are_none(self, path: str) -> None:
        assert "cannot be file_storage_dir" in not_modified(file_storage_dir=path)

    def test_what_instances_use_stays_enabled(self) -> None:
        cluster = snapshot(enabled_hypervisors=(HypervisorName.KVM, HypervisorName.FAKE))
        assert "must stay enabled" in not_modified(cluster, enabled_hypervisors=["kvm"])
        assert "must stay enabled" in not_modified(enabled_disk_templates=["file"])
        assert modify(enabled_disk_templates=["diskless"]).enabled_disk_templates == (
            DiskTemplate.DISKLESS,
        )

    def test_refuses_what_does_not_exist_and_nothing_at_all(self) -> None:
        assert "no such hypervisor" in not_modified(enabled_hypervisors=["xen"])
        assert "no such disk template" in not_modified(enabled_disk_templates=["plain"])
        assert "at least one hypervisor" in not_modified(enabled_hypervisors=[])

    @pytest.mark.parametrize(
        "fields",
        [{"hooks_version": 3}, {"candidate_pool_size": 0}, {"max_running_jobs": 0},
         {"beparams": {"minmem": 4096}}, {"nicparams": {"mode": "routed"}},
         {"nicparams": {"colour": 1}}, {"ndparams": {"ssh_port": -1}}],
    )  # fmt: skip
    def test_refuses_values_that_do_not_fit(self, fields: dict[str, Any]) -> None:
        not_modified(**fields)

    async def test_a_pool_that_grows_is_filled_and_one_that_shrinks_is_left(self) -> None:
        regular = {NODE2: {"master_candidate": False}, NODE3: {"master_candidate": False}}
        op = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "candidate_pool_size": 2}
        small = snapshot(change=regular, candidate_pool_size=1)
        outcome = await registry.load(op).run(check(small, op), Written())
        assert [one.name for one in outcome.put[1:]] == ["node2.example.com"]
        assert getattr(outcome.put[1], "master_candidate", False)
        steps = Written()
        outcome = await registry.load(op).run(check(snapshot(), op), steps)
        assert len(outcome.put) == 1
        assert any("3 nodes are master candidates, more than 2" in text for text in steps.lines)

    def test_maintenance_can_be_switched(self) -> None:
        assert modify(maintain_node_health=False).maintain is False


class TestDestroy:
    OP: dict[str, Any] = {"OP_ID": "OP_CLUSTER_DESTROY"}  # noqa: RUF012

    def test_refuses_while_there_are_instances_or_other_nodes(self) -> None:
        assert "still has 1 instance(s)" in refused(self.OP).message
        whole = snapshot()
        empty = whole.with_changes(2, [], [web()])
        assert "2 node(s) beside the master: node2" in refused(self.OP, empty).message
        alone = empty.with_changes(3, [], [n for n in empty.nodes.values() if n.uuid != NODE1])
        assert check(alone, self.OP).after.destroyed


class TestTags:
    @pytest.mark.parametrize("kind", ["cluster", "nodegroup", "node", "instance"])
    async def test_are_added_and_removed(self, kind: str) -> None:
        name = {"nodegroup": "default", "node": "node1", "instance": "web1"}.get(kind)
        op = {"OP_ID": "OP_TAGS_SET", "kind": kind, "name": name, "tags": ["b", "a", "a"]}
        outcome = await registry.load(op).run(check(snapshot(), op), Written())
        assert outcome.put[0].tags == ("a", "b")
        op["OP_ID"] = "OP_TAGS_DEL"
        cluster = snapshot().with_changes(2, outcome.put)
        outcome = await registry.load(op).run(check(cluster, op), Written())
        assert outcome.put[0].tags == ()

    async def test_what_is_there_already_changes_nothing(self) -> None:
        op = {"OP_ID": "OP_TAGS_SET", "kind": "instance", "name": "web1", "tags": ["a"]}
        outcome = await registry.load(op).run(check(snapshot(web(tags=("a",))), op), Written())
        assert outcome.put == ()

    async def test_to_remove_none_changes_nothing(self) -> None:
        op = {"OP_ID": "OP_TAGS_DEL", "kind": "instance", "name": "web1", "tags": []}
        outcome = await registry.load(op).run(check(snapshot(), op), Written())
        assert outcome.put == ()

    @pytest.mark.parametrize("tag", ["", "a b", "x" * 129, "ä", "a;b", "a\n"])
    def test_refuses_what_is_no_tag(self, tag: str) -> None:
        op = {"OP_ID": "OP_TAGS_SET", "kind": "cluster", "tags": [tag]}
        assert "is not a valid tag" in refused(op).message

    def test_takes_every_character_that_tags_have(self) -> None:
        tag = "aZ09.+*/:@-_"
        assert check(snapshot(), {"OP_ID": "OP_TAGS_SET", "kind": "cluster", "tags": [tag]})

    def test_refuses_more_than_there_may_be(self) -> None:
        many = [f"t{number}" for number in range(4097)]
        op = {"OP_ID": "OP_TAGS_SET", "kind": "cluster", "tags": many}
        assert "more than 4096 tags" in refused(op).message

    def test_refuses_to_remove_what_is_not_there(self) -> None:
        op = {"OP_ID": "OP_TAGS_DEL", "kind": "instance", "name": "web1", "tags": ["a"]}
        assert refused(op).reason is Reason.UNKNOWN

    def test_needs_a_name_and_a_kind(self) -> None:
        assert "is missing" in refused({"OP_ID": "OP_TAGS_SET", "kind": "node", "tags": []}).message
        assert "kind" in refused({"OP_ID": "OP_TAGS_SET", "kind": "os", "tags": []}).message


class TestDebug:
    async def test_delay_takes_the_master_and_the_named_nodes_once(self) -> None:
        op = {"OP_ID": "OP_TEST_DELAY", "duration": 1, "on_nodes": ["node2", "node1"], "repeat": 1}
        steps = Written()
        await registry.load(op).run(check(snapshot(), op), steps)
        assert steps.names == ["delay/0/0", "delay/0/1", "delay/1/0", "delay/1/1"]
        assert [node for _, node, _, _ in steps.done[:2]] == [NODE1, NODE2]

    @pytest.mark.parametrize("fields", [{"duration": -1}, {"duration": 86401},
                                        {"duration": 1, "repeat": -1}])  # fmt: skip
    def test_delay_refuses_times_that_are_none(self, fields: dict[str, Any]) -> None:
        refused({"OP_ID": "OP_TEST_DELAY", **fields})

    async def test_dummy_does_what_it_is_told(self) -> None:
        op = {"OP_ID": "OP_TEST_DUMMY", "result": [1], "messages": ["hello"]}
        steps = Written()
        outcome = await registry.load(op).run(check(snapshot(), op), steps)
        assert (outcome.result, steps.lines) == ([1], ["hello"])
        failing: AnyOperation = registry.load({"OP_ID": "OP_TEST_DUMMY", "fail": True})
        with pytest.raises(OperationFailed):
            await failing.run(failing.check(snapshot(), None), steps)  # type: ignore[arg-type]  # draws nothing


class TestRegistry:
    @pytest.mark.parametrize("opcode", sorted(PLACES))
    def test_every_op_code_is_that_of_its_class(self, opcode: str) -> None:
        kind = registry.find(opcode)
        assert kind.opcode == opcode
        assert kind.__doc__

    def test_refuses_op_codes_that_do_not_exist(self) -> None:
        assert "OP_INSTANCE_STARTUP" in refused({"OP_ID": "OP_INSTANCE_TELEPORT"}).hint
        assert "needs an OP_ID" in refused({}).message
        assert "needs an OP_ID" in refused({"OP_ID": 7}).message

    def test_refuses_fields_that_do_not_exist_and_wrong_types(self) -> None:
        op = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
        assert "colour" in refused({**op, "colour": 1}).message
        assert "instance_name" in refused({**op, "instance_name": 7}).message
        assert "instance_name" in refused({"OP_ID": "OP_INSTANCE_STARTUP"}).message

    def test_an_operation_is_its_json_again(self) -> None:
        operation = registry.load({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
        assert registry.load(registry.dump(operation)) == operation
