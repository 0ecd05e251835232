"""The record of every run of a script, in a real cluster and across deaths."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"
ALL = (1, 2, 3)


def history(cluster: Cluster, *choices: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.rows("gnt-hook", "history", *choices)
    return found


def test_what_ran_is_shown_with_its_output(cluster: Cluster) -> None:
    cluster.hook("instance-add-pre.d", "10-look", "echo looking at $GANETI_INSTANCE_NAME\n", ALL)
    cluster.hook("instance-add-post.d", "20-tell", "echo cannot tell >&2; exit 4\n", (2,))
    cluster.add(WEB, node=2)
    runs = history(cluster, "--instance", "web1", "--since", "1h")
    assert [(one["script"], one["node"], one["result"]) for one in runs[:1]] == [
        ("instance-add-post.d/20-tell", "node2.gantry.test", "exit 4")
    ]
    looked = [one["node"] for one in runs if one["script"] == "instance-add-pre.d/10-look"]
    assert sorted(looked) == ["node1.gantry.test", "node2.gantry.test"]
    shown = json.loads(cluster.gnt("gnt-hook", "show", "--json", runs[0]["run"]))
    assert shown["run"]["job"] == runs[0]["job"]
    assert "order" not in shown


def test_a_lost_index_is_made_anew_from_the_nodes(cluster: Cluster) -> None:
    cluster.hook("instance-add-pre.d", "10-look", "exit 0\n", ALL)
    cluster.add(WEB, node=3)
    [job] = {one["job"] for one in history(cluster, "--instance", WEB, "--limit", "2")}
    before = history(cluster, "--job", str(job))
    assert len(before) == 2
    cluster.kill("master")
    for path in (cluster.root(1) / "var/lib/gantry").glob("hook-index.db*"):
        path.unlink()
    cluster.local("up")
    again = eventually(
        "all nodes have told their runs",
        lambda: (found := history(cluster, "--job", str(job))) and len(found) == 2 and found,
    )
    assert again == before


def test_runs_of_an_agent_that_was_killed_are_there_when_it_is_back(cluster: Cluster) -> None:
    cluster.hook("instance-add-pre.d", "10-look", "exit 0\n", (2,))
    cluster.add(WEB, node=2)
    cluster.kill("agent", 2)
    cluster.local("up")
    found = history(cluster, "--instance", WEB, "--node", "node2", "--limit", "1")
    shown = json.loads(cluster.gnt("gnt-hook", "show", "--json", found[0]["run"]))
    assert shown["problem"] == ""
    assert shown["run"]["script"] == "instance-add-pre.d/10-look"


def test_a_script_is_switched_off_everywhere_and_on_again(cluster: Cluster) -> None:
    cluster.hook("instance-add-pre.d", "50-no", "exit 1\n", ALL)
    assert "50-no" in cluster.refused(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    cluster.gnt("gnt-hook", "disable", "50-no", "--reason", "it is broken")
    cluster.add(WEB, node=2)
    missed = history(cluster, "--instance", WEB, "--script", "50-no", "--limit", "2")
    assert {one["result"] for one in missed} == {"skipped"}
    listed = cluster.rows("gnt-hook", "list", "--operation", "instance-add")
    assert [one["skipped"].endswith(": it is broken") for one in listed] == [True] * 3
    assert "it is disabled since" in cluster.try_gnt("gnt-hook", "lint").stdout
    cluster.gnt("gnt-instance", "remove", "-f", WEB)
    cluster.gnt("gnt-hook", "enable", "instance-add-pre.d/50-no", "--node", "node2")
    listed = cluster.rows("gnt-hook", "list", "--operation", "instance-add")
    assert [bool(one["skipped"]) for one in listed] == [True, False, True]
    cluster.gnt("gnt-hook", "enable", "50-no")
