"""Which directories run on which nodes, in which version."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from tests.fakes.cluster import CLUSTER, GROUP, node_uuid
from tests.unit.hooks.cluster import (
    OTHER_GROUP,
    WEB,
    about_web,
    changed,
    node,
    snapshot,
    where,
    without,
)

from gantry.hooks.entry import Phase
from gantry.hooks.plan import config_update, phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import ROWS
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

PRE, POST = Phase.PRE, Phase.POST
THE_CLUSTER = Subject(kind=SubjectKind.CLUSTER)


def about_node(before: Snapshot, number: int) -> Subject:
    return Subject(kind=SubjectKind.NODE, node=node(before, number))


def runs(opcode: str, phase: Phase, subject: Subject, before: Snapshot) -> dict[int, list[str]]:
    after = before if phase is POST else None
    return where(phase_runs(opcode, phase, before, subject, after, subject if after else None))


@pytest.mark.parametrize("version", [1, 2])
def test_an_instance_s_scripts_run_on_the_master_and_its_nodes(version: int) -> None:
    found = runs("OP_INSTANCE_STARTUP", PRE, about_web(), snapshot(version))
    assert found == {number: [f"instance-start-pre.d/{version}"] for number in (1, 2, 3)}


def test_a_node_named_twice_runs_the_scripts_once() -> None:
    local = msgspec.structs.replace(WEB, primary_node=node_uuid(1), secondary_nodes=())
    subject = Subject(kind=SubjectKind.INSTANCE, instance=local)
    assert list(runs("OP_INSTANCE_STARTUP", PRE, subject, snapshot())) == [1]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("phase", list(Phase))
def test_both_directories_of_a_stop_are_read_each_in_its_version(
    version: int, phase: Phase
) -> None:
    before = snapshot(version)
    names = [f"instance-shutdown-{phase.value}.d/1", f"instance-stop-{phase.value}.d/2"]
    assert runs("OP_INSTANCE_SHUTDOWN", phase, about_web(), before)[2] == names
    found = phase_runs("OP_INSTANCE_SHUTDOWN", PRE, before, about_web())
    assert {run.main_version for run in found} == {version}
    environments = found[0].environments
    assert environments["1"]["GANETI_HOOKS_PATH"] == "instance-shutdown"
    assert environments["1"]["GANETI_HOOKS_VERSION"] == "1"
    assert environments["2"]["GANETI_HOOKS_PATH"] == "instance-stop"
    assert environments["2"]["GANETI_HOOKS_VERSION"] == "2"


@pytest.mark.parametrize("version", [1, 2])
def test_both_directories_of_replace_disks_have_their_own_nodes(version: int) -> None:
    subject = about_web(extra_nodes=(node_uuid(4),))
    old, new = "mirror-replace-pre.d/1", "mirrors-replace-pre.d/2"
    found = runs("OP_INSTANCE_REPLACE_DISKS", PRE, subject, snapshot(version))
    assert found == {1: [old, new], 2: [old, new], 3: [old], 4: [new]}


@pytest.mark.parametrize(
    ("opcode", "phase", "first", "second"),
    [
        ("OP_INSTANCE_REMOVE", PRE, {1}, {1}),
        ("OP_INSTANCE_REMOVE", POST, {1}, {1, 2, 3}),
        ("OP_INSTANCE_FAILOVER", PRE, {1, 2, 3, 4}, {1, 3, 4}),
        ("OP_INSTANCE_FAILOVER", POST, {1, 2, 3, 4}, {1, 2, 3, 4}),
        ("OP_INSTANCE_MIGRATE", PRE, {1, 2, 3, 4}, {1, 2, 3, 4}),
        ("OP_INSTANCE_MOVE", POST, {1, 2, 4}, {1, 2, 4}),
        ("OP_BACKUP_EXPORT", PRE, {1, 2, 3}, {1, 2, 4}),
        ("OP_INSTANCE_ADD_MDDRBD", PRE, {1, 2, 3, 4}, {1, 2, 3, 4}),
        ("OP_INSTANCE_REMOVE_MDDRBD", PRE, {1, 2, 3}, {1, 2, 3}),
        ("OP_INSTANCE_CHANGE_GROUP", PRE, {1}, {1}),
    ],
)
def test_an_instance_s_nodes_and_its_target_count_as_each_version_says(
    opcode: str, phase: Phase, first: set[int], second: set[int]
) -> None:
    subject = about_web(extra_nodes=(node_uuid(4),))
    assert set(runs(opcode, phase, subject, snapshot(1))) == first
    assert set(runs(opcode, phase, subject, snapshot(2))) == second


@pytest.mark.parametrize(
    ("opcode", "phase", "first", "second"),
    [
        ("OP_CLUSTER_POST_INIT", PRE, {1}, set()),
        ("OP_CLUSTER_POST_INIT", POST, {1}, {1}),
        ("OP_CLUSTER_DESTROY", PRE, set(), set()),
        ("OP_CLUSTER_DESTROY", POST, {1}, {1}),
        ("OP_CLUSTER_RENAME", PRE, {1}, {1}),
        ("OP_CLUSTER_RENAME", POST, {1, 2, 3, 4}, {1, 2, 3, 4}),
        ("OP_CLUSTER_SET_PARAMS", PRE, {1}, {1}),
        ("OP_CLUSTER_VERIFY", PRE, set(), set()),
        ("OP_CLUSTER_VERIFY", POST, {1, 2, 3, 4}, {1, 2, 3, 4}),
    ],
)
def test_the_cluster_s_scripts_run_where_each_version_says(
    opcode: str, phase: Phase, first: set[int], second: set[int]
) -> None:
    assert set(runs(opcode, phase, THE_CLUSTER, snapshot(1))) == first
    assert set(runs(opcode, phase, THE_CLUSTER, snapshot(2))) == second


@pytest.mark.parametrize("version", [1, 2])
def test_a_new_node_runs_only_post_scripts(version: int) -> None:
    after = snapshot(version)
    before, subject = without(after, 4), about_node(after, 4)
    assert set(where(phase_runs("OP_NODE_ADD", PRE, before, subject))) == {1, 2, 3}
    post = phase_runs("OP_NODE_ADD", POST, before, subject, after, subject)
    assert set(where(post)) == {1, 2, 3, 4}


def test_a_node_that_comes_back_runs_no_pre_scripts() -> None:
    before = snapshot()
    assert set(runs("OP_NODE_ADD", PRE, about_node(before, 4), before)) == {1, 2, 3}


@pytest.mark.parametrize(("version", "post"), [(1, [1, 2, 3]), (2, [4, 1, 2, 3])])
def test_a_node_that_leaves_runs_post_scripts_in_version_2_alone(
    version: int, post: list[int]
) -> None:
    before = snapshot(version)
    subject = about_node(before, 4)
    assert set(where(phase_runs("OP_NODE_REMOVE", PRE, before, subject))) == {1, 2, 3}
    found = phase_runs("OP_NODE_REMOVE", POST, before, subject, without(before, 4), subject)
    assert list(where(found)) == post


def test_a_node_that_leaves_and_is_offline_runs_nothing() -> None:
    before = changed(snapshot(2), 4, offline=True)
    subject = about_node(before, 4)
    found = phase_runs("OP_NODE_REMOVE", POST, before, subject, without(before, 4), subject)
    assert set(where(found)) == {1, 2, 3}


def test_offline_nodes_run_nothing() -> None:
    before = changed(snapshot(), 3, offline=True)
    assert set(runs("OP_INSTANCE_STARTUP", PRE, about_web(), before)) == {1, 2}


def test_a_node_going_offline_runs_pre_scripts_and_one_coming_back_post_scripts() -> None:
    online = snapshot()
    offline = changed(online, 4, offline=True)
    subject = about_node(online, 4)
    for before, after, pre, post in (
        (online, offline, {1, 4}, {1}),
        (offline, online, {1}, {1, 4}),
    ):
        opcode = "OP_NODE_SET_PARAMS"
        assert set(where(phase_runs(opcode, PRE, before, subject))) == pre
        assert set(where(phase_runs(opcode, POST, before, subject, after, subject))) == post


@pytest.mark.parametrize(
    ("opcode", "kind", "expected"),
    [
        ("OP_GROUP_RENAME", SubjectKind.GROUP, {1, 2, 3}),
        ("OP_GROUP_ADD", SubjectKind.GROUP, {1}),
        ("OP_NETWORK_CONNECT", SubjectKind.NETWORK, {2, 3}),
        ("OP_MASTER_FAILOVER", SubjectKind.CLUSTER, {2, 3}),
    ],
)
def test_the_nodes_of_a_group_are_those_that_the_operation_names(
    opcode: str, kind: SubjectKind, expected: set[int]
) -> None:
    subject = Subject(kind=kind, extra_nodes=(node_uuid(2), node_uuid(3)))
    assert set(runs(opcode, PRE, subject, snapshot())) == expected


def in_two_groups(version: int) -> Snapshot:
    before = changed(snapshot(version), 4, group=OTHER_GROUP.uuid, tags=("far",))
    return before.with_changes(3, [OTHER_GROUP])


def tags_told(group: Uuid | None, before: Snapshot) -> dict[int, int]:
    """By node: how many nodes' tags it is told of."""
    subject = Subject(kind=SubjectKind.CLUSTER, group=group)
    found = phase_runs("OP_CLUSTER_VERIFY", POST, before, subject, before, subject)
    name = "GANETI_NODE_TAGS_node"
    return {
        int(run.node[-2:]): sum(
            key.startswith(name) and key.endswith(".example.com")
            for key in run.environments[str(run.main_version)]
        )
        for run in found
    }


def test_version_1_verifies_once_on_all_nodes() -> None:
    before = in_two_groups(1)
    assert tags_told(None, before) == {1: 4, 2: 4, 3: 4, 4: 4}
    assert tags_told(OTHER_GROUP.uuid, before) == {1: 4, 2: 4, 3: 4, 4: 4}


def test_version_2_verifies_group_by_group() -> None:
    before = in_two_groups(2)
    assert tags_told(None, before) == {1: 3, 2: 3, 3: 3, 4: 1}
    assert tags_told(OTHER_GROUP.uuid, before) == {4: 1}
    assert tags_told(GROUP, before) == {1: 3, 2: 3, 3: 3}


@pytest.mark.parametrize("version", [1, 2])
def test_a_change_of_the_configuration_runs_scripts_on_the_master(version: int) -> None:
    run = config_update("OP_INSTANCE_STARTUP", snapshot(version), about_web(values={"FORCE": True}))
    assert where([run]) == {1: [f"config-update-post.d/{version}"]}
    environment = run.environments[str(version)]
    assert environment["GANETI_HOOKS_PATH"] == "config-update"
    assert environment["GANETI_HOOKS_PHASE"] == ("POST" if version == 1 else "post")
    assert environment["GANETI_OP_CODE"] == "OP_INSTANCE_STARTUP"
    assert environment["GANETI_OBJECT_TYPE"] == "INSTANCE"
    assert environment["GANETI_INSTANCE_NAME"] == WEB.name
    assert environment["GANETI_FORCE"] == "True"
    assert not any(name.startswith("GANETI_POST_") for name in environment)


def test_a_change_by_an_operation_without_hooks_tells_the_common_variables_alone() -> None:
    environment = config_update("OP_TAGS_SET", snapshot(2), None).environments["2"]
    assert environment == {
        "PATH": "/sbin:/bin:/usr/sbin:/usr/bin",
        "GANETI_HOOKS_VERSION": "2",
        "GANETI_HOOKS_PHASE": "post",
        "GANETI_HOOKS_PATH": "config-update",
        "GANETI_OP_ID": "OP_TAGS_SET",
        "GANETI_OP_CODE": "OP_TAGS_SET",
        "GANETI_DATA_DIR": "/var/lib/ganeti",
        "GANETI_CLUSTER": "cluster.example.com",
        "GANETI_MASTER": "node1.example.com",
    }


def rename(before: Snapshot) -> Snapshot:
    cluster = msgspec.structs.replace(before.cluster, name="new.example.com")
    return before.with_changes(2, [cluster])


def start(before: Snapshot) -> Snapshot:
    return before.with_changes(2, [msgspec.structs.replace(WEB, tags=("later",))])


@pytest.mark.parametrize(
    ("change", "name", "old", "new"),
    [
        (start, "INSTANCE_TAGS", "", "later"),
        (rename, "CLUSTER", "cluster.example.com", None),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_post_scripts_get_what_pre_scripts_got_and_a_second_set(
    version: int, change: Callable[[Snapshot], Snapshot], name: str, old: str, new: str | None
) -> None:
    before = snapshot(version)
    after = change(before)
    later = about_web(values={"FORCE": False})
    later = msgspec.structs.replace(later, instance=after.instances[WEB.uuid])
    first = about_web(values={"FORCE": False})
    opcode, key = "OP_INSTANCE_STARTUP", str(version)
    pre = phase_runs(opcode, PRE, before, first)[0].environments[key]
    post = phase_runs(opcode, POST, before, first, after, later)[0].environments[key]
    assert after.cluster.uuid == CLUSTER
    assert post[f"GANETI_{name}"] == old
    assert post.get(f"GANETI_POST_{name}") == new
    same = {name: value for name, value in post.items() if not name.startswith("GANETI_POST_")}
    assert same | {"GANETI_HOOKS_PHASE": pre["GANETI_HOOKS_PHASE"]} == pre


def by_version(opcode: str, phase: Phase, subject: Subject, before: Snapshot) -> set[str]:
    """``node/version of a directory`` of all that run."""
    return {
        f"{number}/{name.rpartition('/')[2]}"
        for number, names in runs(opcode, phase, subject, before).items()
        for name in names
    }


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("opcode", sorted(ROWS))
def test_a_failure_is_told_to_all_that_a_phase_of_its_version_reaches(
    opcode: str, version: int
) -> None:
    before, kind = snapshot(version), ROWS[opcode].kind
    subject = {
        SubjectKind.INSTANCE: about_web(extra_nodes=(node_uuid(4),)),
        SubjectKind.NODE: about_node(before, 4),
    }.get(kind, Subject(kind=kind, extra_nodes=(node_uuid(2), node_uuid(3))))
    asked, after, told = (by_version(opcode, phase, subject, before) for phase in Phase)
    versions = {one[-1] for one in asked}
    assert told == asked | {one for one in after if one[-1] in versions}


def test_a_node_that_did_not_come_hears_nothing_of_it() -> None:
    before = without(snapshot(), 4)
    subject = Subject(kind=SubjectKind.NODE, node=node(snapshot(), 4))
    assert list(runs("OP_NODE_ADD", Phase.FAIL, subject, before)) == [1, 2, 3]
