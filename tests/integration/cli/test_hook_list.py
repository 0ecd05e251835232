"""``gnt-hook list``: what would run, over real directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli.conftest import Commands
from tests.integration.cli.hook_nodes import HookNodes

from gantry.host import hook_switches
from gantry.model.hook_switch import Switched


@pytest.fixture
def nodes(gnt: Commands, tmp_path: Path) -> HookNodes:
    return HookNodes(tmp_path / "nodes", gnt.services)


async def test_scripts_are_listed_in_the_order_in_which_they_run(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.script("node1", "instance-stop-pre.d/20-later")
    nodes.script("node1", "instance-shutdown-pre.d/10-first")
    nodes.script("node1", "instance-stop-pre.d/15-off", mode=0o644)
    nodes.script("node2", "instance-stop-pre.d/15-x.sh")
    done = await gnt("gnt-hook list --json --operation instance-stop")
    assert done.status == 0
    shown = [(row["node"], row["order"], row["script"], row["version"]) for row in done.json]
    assert shown == [
        ("node1.example.com", 1, "instance-shutdown-pre.d/10-first", 1),
        ("node1.example.com", None, "instance-stop-pre.d/15-off", 2),
        ("node1.example.com", 2, "instance-stop-pre.d/20-later", 2),
        ("node2.example.com", None, "instance-stop-pre.d/15-x.sh", 2),
    ]
    assert done.json[1]["skipped"] == "it is not executable"
    assert {row["phase"] for row in done.json} == {"pre"}


async def test_what_the_policy_and_an_operator_decided_is_shown(
    gnt: Commands, nodes: HookNodes
) -> None:
    for name in ("10-a", "20-b", "30-c"):
        nodes.script("node1", f"instance-add-pre.d/{name}")
    nodes.script("node2", "instance-add-pre.d/10-a")
    nodes.script(
        "node1",
        "hooks.toml",
        '[script."instance-add-pre.d/20-b"]\ntimeout = 5\non-unreachable = "deny"\nversion = 2\n',
        0o644,
    )
    nodes.script("node2", "hooks.toml", "timeout = 5\n", 0o644)
    hook_switches.write(
        nodes.base("node1"),
        [Switched(script="instance-add-pre.d/30-c", enabled=False, since=0.0, by="root")],
    )
    rows = (await gnt("gnt-hook list --json --operation instance-add")).json
    here = [row for row in rows if row["node"] == "node1.example.com"]
    assert [(row["timeout"], row["unreachable"], row["version"]) for row in here] == [
        (600.0, "ignored", 1),
        (5.0, "denies", 2),
        (None, "ignored", 1),
    ]
    assert here[2]["skipped"] == "it is disabled since 1970-01-01 00:00 UTC by root"
    there = [row["skipped"] for row in rows if row["node"] == "node2.example.com"]
    assert there[0].startswith("DENIES: hooks.toml line 1")
    assert there[1] == "hooks.toml cannot be followed"


async def test_only_what_runs_before_an_operation_denies(gnt: Commands, nodes: HookNodes) -> None:
    for phase in ("pre", "post", "fail"):
        nodes.script("node1", f"instance-add-{phase}.d/10-a")
        nodes.script("node2", f"instance-add-{phase}.d/10-a")
    nodes.script("node1", "hooks.toml", "timeout = 5\n", 0o644)
    nodes.script("node2", "hooks.toml", '[pattern."*/10-a"]\non-unreachable = "deny"\n', 0o644)
    rows = (await gnt("gnt-hook list --json --operation instance-add")).json
    of_policy = {
        row["phase"]: row["skipped"].partition(":")[0]
        for row in rows
        if "hooks.toml line 1" in row["skipped"]
    }
    assert of_policy == {"pre": "DENIES", "post": "FAILS", "fail": "FAILS"}
    away = {row["phase"]: row["unreachable"] for row in rows if row["node"] == "node2.example.com"}
    assert away == {"pre": "denies", "post": "ignored", "fail": "ignored"}


async def test_a_directory_that_is_read_on_the_master_alone_says_so(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.script("node2", "cluster-modify-post.d/10-a")
    nodes.script("node2", "config-update-post.d/10-b")
    done = await gnt("gnt-hook list --json")
    assert [row["script"] for row in done.json] == [
        "cluster-modify-post.d/10-a",
        "config-update-post.d/10-b",
    ]
    assert {row["skipped"] for row in done.json} == {"this directory is read on the master only"}


async def test_what_a_policy_wants_of_the_object_is_not_known_and_of_the_operation_it_is(
    gnt: Commands, nodes: HookNodes
) -> None:
    for name in ("10-tags", "20-other"):
        nodes.script("node1", f"instance-add-pre.d/{name}")
    policy = nodes.roots["node1"] / "etc/ganeti/hooks/hooks.toml"
    policy.write_text(
        '[pattern."*/10-tags"]\nonly = { tags = ["web"], operations = ["instance-add"] }\n'
        '[pattern."*/20-other"]\nonly = { operations = ["node-add"] }\n'
    )
    policy.chmod(0o644)
    done = await gnt("gnt-hook list --node node1 --json")
    assert [row["skipped"] for row in done.json] == [
        "",
        "hooks.toml wants it for other operations only",
    ]


async def test_one_node_and_one_operation_can_be_chosen(gnt: Commands, nodes: HookNodes) -> None:
    for name in nodes.roots:
        nodes.script(name, "instance-add-pre.d/10-a")
        nodes.script(name, "instance-add-post.d/10-b")
        nodes.script(name, "node-add-post.d/10-c")
    done = await gnt("gnt-hook list --operation OP_INSTANCE_CREATE --node node2 --no-headers")
    assert [line.split()[2:5] for line in done.out.splitlines()] == [
        ["node2.example.com", "1", "instance-add-pre.d/10-a"],
        ["node2.example.com", "1", "instance-add-post.d/10-b"],
    ]


async def test_rare_columns_are_shown_only_where_they_say_something(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.script("node1", "instance-add-pre.d/10-a")
    usual = await gnt("gnt-hook list")
    assert usual.out.splitlines()[0].split() == [
        "Operation", "Phase", "Node", "Order", "Script", "Version", "Seconds", "Skipped",
    ]  # fmt: skip
    assert "primary and secondary nodes" in (await gnt("gnt-hook list -v")).out
    policy = '[script."instance-add-pre.d/10-a"]\nrun-as = "nobody"\n'
    nodes.script("node1", "hooks.toml", policy, 0o644)
    assert "RunAs" in (await gnt("gnt-hook list")).out.splitlines()[0]


async def test_a_node_that_is_away_is_named_and_the_others_are_shown(
    gnt: Commands, nodes: HookNodes
) -> None:
    nodes.script("node1", "instance-add-pre.d/10-a")
    nodes.away.add("node2")
    done = await gnt("gnt-hook list")
    assert "node1.example.com" in done.out
    assert "node2.example.com is missing: node node2.example.com does not answer" in done.err


async def test_an_unknown_operation_names_the_nearest(gnt: Commands, nodes: HookNodes) -> None:
    done = await gnt("gnt-hook list --operation instance-creat")
    assert done.status == 1
    assert "no operation with hooks is called 'instance-creat'" in done.err
    assert "did you mean" in done.err
