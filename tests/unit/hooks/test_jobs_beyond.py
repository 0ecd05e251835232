"""What a job makes of a policy, of verdicts and of the context, beyond the interface."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.fakes.cluster import FakeCluster, instance, node_uuid

from gantry.hooks.policy_file import parse
from gantry.model.jobs import DryRun, Job, JobStatus
from gantry.model.orders import HooksRun, ScriptStatus

START: Final = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
STOP: Final = {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}
ADD: Final[dict[str, Any]] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new.example.com",
    "os_type": "noop",
    "pnode": "node2",
    "disk_template": "diskless",
    "mode": "create",
}


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    # Secondaries are nodes of an instance too, so that there is a node to lose.
    web1 = instance(1, tags=("prod",), secondary_nodes=(node_uuid(2),))
    made = await FakeCluster.make([web1])
    await made.start()
    yield made
    await made.close()


async def log(cluster: FakeCluster, job: Job) -> list[str]:
    return [entry.text for entry in await cluster.engine.log(job.id)]


def policy(cluster: FakeCluster, text: str) -> None:
    cluster.hook_policy = lambda: parse(text.encode())


def said(job: Job) -> str:
    error = job.ops[0].error
    return error.message if error is not None else ""


def runs(cluster: FakeCluster, number: int = 1) -> list[HooksRun]:
    return cluster.world.nodes[node_uuid(number)].hook_runs


def told(order: HooksRun) -> Any:
    return json.loads(bytes(order.context))


# A node that does not answer


async def test_it_denies_where_the_policy_of_the_master_says_so(cluster: FakeCluster) -> None:
    policy(cluster, '[directory."instance-start-pre.d"]\non-unreachable = "deny"\n')
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(2)])
    job = await cluster.run(START)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    assert "node: node2.example.com, script: (all), output: (not run: " in said(job)
    assert "on-unreachable is deny" in said(job)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[directory."instance-stop-pre.d"]\non-unreachable = "deny"\n',
        '[default]\non-unreachable = "deny"\nonly = { tags = ["test"] }\n',
        '[default]\non-unreachable = "deny"\nenabled = false\n',
    ],
)
async def test_it_denies_nothing_where_that_is_not_said_of_it(
    cluster: FakeCluster, text: str
) -> None:
    policy(cluster, text)
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(2)])
    job = await cluster.run(START)
    assert job.status is JobStatus.SUCCESS
    assert any("does not count as a denial" in line for line in await log(cluster, job))


async def test_it_denies_where_the_policy_cannot_be_read(cluster: FakeCluster) -> None:
    policy(cluster, "[default\n")
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(2)])
    job = await cluster.run(START)
    assert "whether that denies is not known: hooks.toml line 1" in said(job)


async def test_a_policy_that_cannot_be_read_matters_only_where_a_node_is_away(
    cluster: FakeCluster,
) -> None:
    policy(cluster, "[default\n")
    assert (await cluster.run(START)).status is JobStatus.SUCCESS


# Verdicts


async def test_a_message_is_part_of_the_denial(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook("instance-start-pre.d", "10-no", exit_status=1, message="ask\nAlice")
    job = await cluster.run(START)
    assert said(job).endswith("output: (no output), message: ask\\nAlice")


async def test_messages_and_warnings_are_in_the_log(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook("instance-start-pre.d", "10-yes", message="ticket 7", warnings=("disk is old",))
    job = await cluster.run(START)
    assert job.status is JobStatus.SUCCESS
    lines = await log(cluster, job)
    assert "node1.example.com instance-start-pre.d/10-yes: ticket 7" in lines
    assert "node1.example.com instance-start-pre.d/10-yes warns: disk is old" in lines


# What scripts and policies are told


async def test_every_run_has_both_versions_and_what_conditions_look_at(
    cluster: FakeCluster,
) -> None:
    await cluster.run(START)
    await cluster.engine.settle()
    assert len(runs(cluster)) == 3
    for order in runs(cluster):
        assert order.environments.keys() == {"1", "2"}
        for version, environment in order.environments.items():
            assert environment["GANETI_HOOKS_VERSION"] == version
        assert {"OP_INSTANCE_STARTUP", "OP_INSTANCE_START", "instance-start"} <= set(
            order.about.operations
        )
        assert order.about.tags == ("prod",)
        assert order.about.groups == ("default",)
        assert order.about.instances == ("web1.example.com",)


async def test_the_context_says_who_asked_for_what(cluster: FakeCluster) -> None:
    reason = (("gnt:client", "a reason", 1_700_000_000_000_000_000),)
    job = await cluster.run(START, requester="alice", reason=reason)
    await cluster.engine.settle()
    pre, post, update = map(told, runs(cluster))
    for context in (pre, post, update):
        assert context["job"]["id"] == job.id
        assert context["job"]["requester"] == "alice"
        assert context["job"]["reason"] == [
            {"source": "gnt:client", "text": "a reason", "time": 1_700_000_000.0}
        ]
        assert context["operation"]["code"] == "OP_INSTANCE_STARTUP"
        assert context["operation"]["parameters"]["instance_name"] == "web1"
        assert context["node"] == "node1.example.com"
        assert context["failure"] is None
    assert [context["phase"] for context in (pre, post)] == ["pre", "post"]
    assert pre["object"]["before"]["admin_state"] == "down" and pre["object"]["after"] is None
    assert pre["object"]["before"]["primary_node"] == "node1.example.com"
    assert post["object"]["before"] == pre["object"]["before"]
    assert post["object"]["after"]["admin_state"] == "up"


async def test_the_context_of_what_comes_and_of_what_goes(cluster: FakeCluster) -> None:
    await cluster.run(ADD)
    await cluster.run({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "new.example.com"})
    await cluster.engine.settle()
    by_phase = {
        (order.directories[0].name.removesuffix(".d")): told(order)["object"]
        for order in runs(cluster)
    }
    add, added = by_phase["instance-add-pre"], by_phase["instance-add-post"]
    assert add["before"] is None and add["after"]["name"] == "new.example.com"
    assert added["before"] is None and added["after"]["name"] == "new.example.com"
    gone = by_phase["instance-remove-pre"]
    assert gone["before"]["name"] == "new.example.com" and gone["after"] is None


async def test_nothing_private_is_in_the_context(cluster: FakeCluster) -> None:
    op = {**ADD, "osparams_private": {"token": "hunter2"}, "osparams": {"dist": "sid"}}
    await cluster.run(op, secrets=({"password": "hunter3"},))
    await cluster.engine.settle()
    for number in (1, 2):
        for order in runs(cluster, number):
            text = bytes(order.context).decode()
            assert "hunter" not in text
            assert "sid" in text or "config-update" in order.directories[0].name


async def test_a_failure_is_in_the_context_too(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook("instance-start-pre.d", "10-no", exit_status=1, output="not today")
    await cluster.run(START)
    [last] = [order for order in runs(cluster) if "fail" in order.directories[0].name]
    context = told(last)
    assert context["phase"] == "fail"
    assert context["failure"]["kind"] == "denied"
    assert "not today" in context["failure"]["message"]
    assert context["object"]["after"] == context["object"]["before"]
    environment = last.environments["1"]
    assert environment["GANETI_HOOKS_PHASE"] == "FAIL"
    assert not [name for name in environment if name.startswith("GANETI_POST_")]


async def test_an_installation_that_failed_and_is_kept_is_a_failure_too(
    cluster: FakeCluster,
) -> None:
    cluster.world.nodes[node_uuid(2)].failing_oses.add("noop")
    op = {**ADD, "disk_template": "file", "disks": ({"size": 64},), "keep_failed": True}
    job = await cluster.run(op)
    await cluster.engine.settle()
    assert job.status is JobStatus.ERROR
    names = [order.directories[0].name for order in runs(cluster)]
    assert names == ["instance-add-pre.d", "instance-add-fail.d", "config-update-post.d"]
    [name] = cluster.engine.snapshot().instance_names.keys() - {"web1.example.com"}
    assert name == "new.example.com"
    context = told(runs(cluster)[1])
    assert context["failure"]["kind"] == "failed"
    assert context["object"]["before"] is None
    assert context["object"]["after"]["tags"], "what is kept is marked"


# What would run


async def test_a_dry_run_says_which_scripts_would_run_where_and_in_which_order(
    cluster: FakeCluster,
) -> None:
    one, two = (cluster.world.nodes[node_uuid(number)] for number in (1, 2))
    one.add_hook("instance-start-pre.d", "20-b")
    one.add_hook("instance-start-pre.d", "10-a")
    two.add_hook("instance-start-post.d", "30-c", status=ScriptStatus.SKIPPED, problem="why")
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert job.status is JobStatus.SUCCESS
    lines = [line for line in await log(cluster, job) if "would" in line]
    how = "(version 1, at most 600 s)"
    assert lines == [
        f"before on node1.example.com: would run instance-start-pre.d/10-a {how}",
        f"before on node1.example.com: would run instance-start-pre.d/20-b {how}",
        "would do on node1.example.com: guest-start (start-guest)",
        "afterwards on node2.example.com: instance-start-post.d/30-c would be skipped: why",
    ]
    rows = job.ops[0].result["hooks"]
    assert [(row["phase"], row["node"], row["script"]) for row in rows] == [
        ("pre", "node1.example.com", "10-a"),
        ("pre", "node1.example.com", "20-b"),
        ("post", "node2.example.com", "30-c"),
    ]
    assert not runs(cluster) and not runs(cluster, 2)


async def test_a_dry_run_is_denied_by_what_would_deny_without_being_run(
    cluster: FakeCluster,
) -> None:
    node, how = cluster.world.nodes[node_uuid(1)], ScriptStatus.FAILED
    node.add_hook("instance-start-post.d", "", status=how, problem="it cannot be read")
    assert (await cluster.run(START, dry_run=DryRun.YES)).status is JobStatus.SUCCESS
    node.add_hook("instance-start-pre.d", "", status=how, problem="it cannot be read")
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    assert "script: instance-start-pre.d/, output: (no output) (it cannot be read)" in said(job)
    lines = await log(cluster, job)
    assert any("instance-start-pre.d/ would fail: it cannot be read" in line for line in lines)
    assert not runs(cluster)


async def test_a_dry_run_is_denied_where_a_node_must_answer_and_does_not(
    cluster: FakeCluster,
) -> None:
    policy(cluster, '[default]\non-unreachable = "deny"\n')
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(2)])
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    assert "on-unreachable is deny" in said(job)


async def test_a_name_with_a_line_end_makes_no_line_of_its_own(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook(
        "instance-start-pre.d", "10-a\nall is well", status=ScriptStatus.SKIPPED, problem="why"
    )
    job = await cluster.run(START, dry_run=DryRun.YES)
    [line] = [line for line in await log(cluster, job) if "skipped" in line]
    assert "instance-start-pre.d/10-a\\nall is well would be skipped: why" in line


async def test_a_dry_run_says_which_node_does_not_say(cluster: FakeCluster) -> None:
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(2)])
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert job.status is JobStatus.SUCCESS
    found = [line for line in await log(cluster, job) if "its hooks are not known" in line]
    assert [line.partition(" on ")[0] for line in found] == ["before", "afterwards", "if it fails"]


async def test_a_dry_run_with_hooks_says_only_what_it_did_not_run(cluster: FakeCluster) -> None:
    cluster.world.nodes[node_uuid(1)].add_hook("instance-start-pre.d", "10-a")
    cluster.world.nodes[node_uuid(1)].add_hook("instance-start-post.d", "20-b")
    job = await cluster.run(START, dry_run=DryRun.HOOKS)
    assert [row["script"] for row in job.ops[0].result["hooks"]] == ["20-b"]
    assert [order.dry_run for order in runs(cluster)] == [True]


async def test_a_result_names_not_more_scripts_than_fit(cluster: FakeCluster) -> None:
    for number in range(250):
        cluster.world.nodes[node_uuid(1)].add_hook("instance-start-pre.d", f"{number:03d}-a")
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert len(job.ops[0].result["hooks"]) == 200
    assert job.ops[0].result["hooks_left_out"] == 50
