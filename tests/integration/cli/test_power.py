"""``gnt-node power`` and ``health``: what is asked, submitted and shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import node_uuid
from tests.integration.cli.conftest import Commands, Done, guest, live

from gantry.model.errors import Rejected
from gantry.model.jobs import DryRun


@pytest.mark.parametrize("what", ["on", "off", "cycle"])
async def test_nothing_is_switched_without_a_yes(gnt: Commands, what: str) -> None:
    done = await gnt(f"gnt-node power {what} node3")
    assert done.status == 13
    assert "node3?" in done.err
    assert not gnt.queue.submissions


@pytest.mark.parametrize(
    "line", ["off -f", "off -f --all node3", "up node3", "on", "off --power-delay x node3"]
)
async def test_what_makes_no_sense_is_refused(gnt: Commands, line: str) -> None:
    assert (await gnt(f"gnt-node power {line}")).status == 2
    assert not gnt.queue.submissions


async def test_a_node_whose_power_was_taken_is_marked_in_the_same_job(gnt: Commands) -> None:
    gnt.queue.at_once = True
    done = await gnt("gnt-node power off -f --all")
    assert done.status == 0, done
    names = ["node2.example.com", "node3.example.com"]
    assert [
        [(one["OP_ID"], one.get("node_names") or one["node_name"]) for one in submission.ops]
        for submission in gnt.queue.submissions
    ] == [[("OP_OOB_COMMAND", [name]), ("OP_NODE_SET_PARAMS", name)] for name in names]
    [[_, mark], _] = [submission.ops for submission in gnt.queue.submissions]
    assert mark == {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": names[0], "offline": True}


async def test_the_master_is_not_marked(gnt: Commands) -> None:
    gnt.queue.at_once = True
    assert (await gnt("gnt-node power off -f node1")).status == 0
    [submission] = gnt.queue.submissions
    assert [one["OP_ID"] for one in submission.ops] == ["OP_OOB_COMMAND"]


async def answered(gnt: Commands, line: str, *result: list[Any]) -> Done:
    gnt.queue.result = list(result)
    gnt.queue.at_once = True
    return await gnt(line)


async def test_answers_are_a_table(gnt: Commands) -> None:
    done = await answered(
        gnt,
        "gnt-node power status --all",
        [[0, "node1.example.com"], [0, {"powered": True}]],
        [[0, "node2.example.com"], [0, {"powered": False}]],
    )
    assert done.out.splitlines() == [
        "Node              Status",
        "node1.example.com powered",
        "node2.example.com unpowered",
    ]
    assert done.status == 0
    done = await gnt("gnt-node power status --no-headers --separator : node1")
    assert done.out == "node1.example.com:powered\nnode2.example.com:unpowered\n"
    assert (await gnt("gnt-node power status --json node1")).json == [
        {"name": "node1.example.com", "answer": {"powered": True}},
        {"name": "node2.example.com", "answer": {"powered": False}},
    ]


async def test_an_answer_that_is_missing_shows_and_counts(gnt: Commands) -> None:
    done = await answered(
        gnt,
        "gnt-node power status --all",
        [[0, "node1.example.com"], [2, None]],
        [[0, "node2.example.com"], [3, None]],
    )
    assert done.status == 1
    assert done.out.splitlines()[1:] == [
        "node1.example.com (no answer)",
        "node2.example.com (no program)",
    ]


async def test_health_is_shown_item_by_item(gnt: Commands) -> None:
    found = [["fan", "OK"], ["psu", "CRITICAL"]]
    done = await answered(gnt, "gnt-node health", [[0, "node1.example.com"], [0, found]])
    assert done.out.splitlines()[1:] == ["node1.example.com fan=OK, psu=CRITICAL"]


async def test_fencing_takes_a_silent_nodes_power_first(gnt: Commands) -> None:
    gnt.queue.at_once = True
    program = {"oob_program": "/usr/local/sbin/power"}
    gnt.queue.put(msgspec.structs.replace(gnt.queue.cluster.cluster, ndparams=program))
    node = gnt.queue.cluster.nodes[gnt.queue.cluster.instance("web1").primary_node]
    for reachable, count in ((True, 1), (False, 3)):
        gnt.queue.set_live(node.uuid, live(reachable=reachable))
        assert (await gnt("gnt-instance failover -f --fence web1")).status == 0
        assert len(gnt.queue.submissions[-1].ops) == count
    taken, mark, failover = gnt.queue.submissions[-1].ops
    assert (taken["OP_ID"], taken["node_names"]) == ("OP_OOB_COMMAND", [node.name])
    assert (taken["command"], taken["ignore_status"]) == ("power-off", True)
    assert mark == {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node.name, "offline": True}
    assert failover["OP_ID"] == "OP_INSTANCE_FAILOVER"
    gnt.queue.put(msgspec.structs.replace(gnt.queue.cluster.cluster, ndparams={}))
    done = await gnt("gnt-instance failover -f --fence web1")
    assert (done.status, "no program that switches its power" in done.err) == (2, True)
    assert (await gnt("gnt-instance failover -f --fence --cleanup web1")).status == 2


@pytest.mark.parametrize("line", ["failover -f --fence", "evacuate -f -p --fence"])
async def test_all_of_a_silent_node_is_fenced_once_and_first(gnt: Commands, line: str) -> None:
    gnt.queue.at_once = True
    program = {"oob_program": "/usr/local/sbin/power"}
    gnt.queue.put(msgspec.structs.replace(gnt.queue.cluster.cluster, ndparams=program))
    node = gnt.queue.cluster.nodes[gnt.queue.cluster.instance("web1").primary_node]
    gnt.queue.set_live(node.uuid, live(reachable=False))
    gnt.queue.result = {"jobs": []}
    await gnt(f"gnt-node {line} {node.name}")
    first, *others = [[one["OP_ID"] for one in each.ops] for each in gnt.queue.submissions]
    assert first == ["OP_OOB_COMMAND", "OP_NODE_SET_PARAMS"]
    assert others
    assert not any("OP_OOB_COMMAND" in ops for ops in others)
    done = await gnt(f"gnt-node {line} --submit {node.name}")
    assert (done.status, "neither --submit" in done.err) == (2, True)
    gnt.queue.refuse = Rejected("the program says no")
    before = len(gnt.queue.submissions)
    assert (await gnt(f"gnt-node {line} {node.name}")).status == 1
    assert len(gnt.queue.submissions) == before, "nothing is started elsewhere"


def said(gnt: Commands) -> list[list[tuple[str, Any]]]:
    """Each job's operations: code, and what it is about."""
    about = ("node_names", "node_name", "instance_name", "maintain_node_health", "tags")
    return [
        [(one["OP_ID"], next(one[name] for name in about if name in one)) for one in each.ops]
        for each in gnt.queue.submissions
    ]


async def test_epo_stops_guests_first_and_takes_the_power_of_all_but_the_master(
    gnt: Commands,
) -> None:
    gnt.queue.at_once = True
    assert (await gnt("gnt-cluster epo --all")).status == 13
    assert (await gnt("gnt-cluster epo -f")).status == 2
    assert not gnt.queue.submissions
    program = {"oob_program": "/usr/local/sbin/power"}
    own = gnt.queue.cluster.node("node3")
    gnt.queue.put(msgspec.structs.replace(own, ndparams=program))
    done = await gnt("gnt-cluster epo -f --all")
    assert done.status == 0, done
    assert "by hand: node1.example.com, node2.example.com" in done.out
    first, *stops, last = said(gnt)
    assert first == [("OP_CLUSTER_SET_PARAMS", False), ("OP_TAGS_SET", ["gantry:epo"])]
    assert {ops[0][0] for ops in stops} == {"OP_INSTANCE_SHUTDOWN"}
    assert all(one.ops[0]["no_remember"] for one in gnt.queue.submissions[1:-1])
    assert last == [
        ("OP_OOB_COMMAND", ["node3.example.com"]),
        ("OP_NODE_SET_PARAMS", "node3.example.com"),
    ]


async def test_epo_ends_where_a_guest_cannot_be_stopped(gnt: Commands) -> None:
    gnt.queue.at_once = True
    cluster = gnt.queue.cluster.cluster
    gnt.queue.put(msgspec.structs.replace(cluster, maintain=False))
    gnt.queue.refuse = Rejected("no")
    done = await gnt("gnt-cluster epo -f --all")
    assert (done.status, "it ended here" in done.err) == (1, True)
    assert not gnt.queue.submissions


async def test_epo_on_switches_on_what_it_switched_off(gnt: Commands) -> None:
    gnt.queue.at_once = True
    program = {"oob_program": "/usr/local/sbin/power"}
    cluster = gnt.queue.cluster.cluster
    gnt.queue.put(
        msgspec.structs.replace(cluster, ndparams=program, maintain=False, tags=("gantry:epo",)),
        msgspec.structs.replace(gnt.queue.cluster.node("node3"), offline=True),
    )
    assert (await gnt("gnt-cluster epo --on -f --all")).status == 0
    assert said(gnt) == [
        [("OP_OOB_COMMAND", ["node3.example.com"])],
        [("OP_NODE_SET_PARAMS", "node3.example.com")],
        [("OP_CLUSTER_SET_PARAMS", True), ("OP_TAGS_DEL", ["gantry:epo"])],
    ]
    gnt.queue.put(msgspec.structs.replace(cluster, ndparams=program, maintain=False))
    before = len(gnt.queue.submissions)
    done = await gnt("gnt-cluster epo --on -f node1 --json")
    assert (done.status, done.json) == (0, [])
    assert len(gnt.queue.submissions) == before, "nobody said that it was this command's doing"


async def test_power_is_taken_in_a_trial_only_as_a_trial(gnt: Commands) -> None:
    gnt.queue.at_once = True
    for what in ("on", "off", "cycle"):
        done = await gnt(f"gnt-node power {what} --dry-run node2")
        assert (done.status, "nothing was changed" in done.out) == (0, True), done
    assert {submission.dry_run for submission in gnt.queue.submissions} == {DryRun.YES}
    [_, [_, mark], _] = [submission.ops for submission in gnt.queue.submissions]
    assert mark["powered_off"] is True, "nothing is off that could be marked"
    gnt.queue.set_live(node_uuid(2), live(guest(3)))
    done = await gnt("gnt-node power off --ignore-status --dry-run=hooks node2")
    assert "cannot be tried while guests run there" in done.err
    assert [one["OP_ID"] for one in gnt.queue.submissions[-1].ops] == ["OP_OOB_COMMAND"]
    assert gnt.queue.submissions[-1].dry_run is DryRun.HOOKS


@pytest.mark.parametrize("line", ["power status --all", "health"])
async def test_a_trial_of_a_question_shows_no_answers(gnt: Commands, line: str) -> None:
    gnt.queue.result = {"dry_run": True, "effects": [], "complete": False}
    gnt.queue.at_once = True
    done = await gnt(f"gnt-node {line} --dry-run")
    assert (done.status, "nothing was changed" in done.out) == (0, True), done
    assert (await gnt(f"gnt-node {line} --dry-run --json")).json["status"] == "success"


async def test_epo_is_tried_job_by_job_without_asking(gnt: Commands) -> None:
    gnt.queue.at_once = True
    program = {"oob_program": "/usr/local/sbin/power"}
    cluster = msgspec.structs.replace(gnt.queue.cluster.cluster, ndparams=program)
    gnt.queue.put(cluster)
    done = await gnt("gnt-cluster epo --dry-run --all")
    assert (done.status, "nothing was changed" in done.out) == (0, True), done
    assert "by hand" not in done.out
    assert {submission.dry_run for submission in gnt.queue.submissions} == {DryRun.YES}
    first, *stops, off, _ = said(gnt)
    assert first[0] == ("OP_CLUSTER_SET_PARAMS", False)
    assert {ops[0][0] for ops in stops} == {"OP_INSTANCE_SHUTDOWN"}
    assert off[0] == ("OP_OOB_COMMAND", ["node2.example.com"])
    assert gnt.queue.submissions[-1].ops[0]["ignore_status"] is True, "guests are not stopped"
    gnt.queue.put(
        msgspec.structs.replace(cluster, maintain=False, tags=("gantry:epo",)),
        msgspec.structs.replace(gnt.queue.cluster.node("node3"), offline=True, powered=False),
    )
    assert (await gnt("gnt-cluster epo --on --dry-run=hooks --all")).status == 0
    _, mark, _ = gnt.queue.submissions[-3:]
    assert mark.ops[0]["powered"] is True, "nothing was switched on that could be marked"
    assert mark.dry_run is DryRun.HOOKS


async def test_repairs_are_found_and_then_only_tried(gnt: Commands) -> None:
    gnt.queue.at_once = True
    operation = {"OP_ID": "OP_INSTANCE_SYNC_DISKS", "instance_name": "web1"}
    gnt.queue.result = [{"what": "web1: its copies are synchronised", "operation": operation}]
    done = await gnt("gnt-cluster repair --dry-run")
    assert (done.status, "nothing was changed" in done.out) == (0, True), done
    found, mended = gnt.queue.submissions
    assert (found.ops[0]["OP_ID"], found.dry_run) == ("OP_CLUSTER_FIND_REPAIRS", DryRun.NO)
    assert (mended.ops[0]["OP_ID"], mended.dry_run) == ("OP_INSTANCE_SYNC_DISKS", DryRun.YES)
