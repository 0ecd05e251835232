"""Clusters with simulated nodes: up, work, a killed process, nodes taken out, down."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, alive, eventually, kill, local_cluster, processes_below

WEB = "web1.gantry.test"
UP = ("--simulated-nodes", "3")


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with local_cluster(*UP) as cluster:
        yield cluster


def _crew(cluster: Cluster) -> int:
    (pid,) = {node["agent_pid"] for node in cluster.status()["nodes"] if node["simulated"]}
    assert isinstance(pid, int)
    return pid


def _add(cluster: Cluster, name: str, node: str) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "1M", "-o", "noop", "-n", node,
        "-B", "memory=32M", "--no-nics", name,
    )  # fmt: skip


def _running(cluster: Cluster, name: str) -> bool:
    return bool(cluster.instance(name, "status")["status"] == "running")


def test_simulated_nodes_are_nodes_like_others_but_never_candidates(own: Cluster) -> None:
    rows = own.rows("gnt-node", "list", "-o", "name,master_candidate,master_capable,mtotal")
    simulated = [row for row in rows if row["name"].startswith("sim")]
    assert [row["name"] for row in simulated] == [f"sim{n}.gantry.test" for n in (1, 2, 3)]
    assert not any(row["master_candidate"] or row["master_capable"] for row in simulated)
    assert {row["mtotal"] for row in simulated} == {256 * 1024}
    own.gnt("gnt-cluster", "verify")
    own.local("up")
    assert own.status()["up"]


def test_hooks_and_guests_are_on_the_node_that_they_are_meant_for(own: Cluster) -> None:
    for label in ("sim1", "sim2"):
        hook = own.directory / label / "etc/ganeti/hooks/instance-add-post.d/10-mark"
        hook.parent.mkdir(parents=True)
        hook.write_text(
            '#!/bin/sh\ncat "$GANETI_DATA_DIR/ssconf_node_list" > "$GANTRY_ROOT/mark"\n'
        )
        hook.chmod(0o755)
    _add(own, WEB, "sim2")
    assert (own.directory / "sim2/mark").read_text().count("\n") == 4
    assert not (own.directory / "sim1/mark").exists()
    assert own.instance(WEB, "pnode")["pnode"] == "sim2.gantry.test"
    own.remove_all()


def test_a_process_that_was_killed_is_started_again_with_its_guests(own: Cluster) -> None:
    _add(own, WEB, "sim1")
    old = _crew(own)
    kill(old)
    assert not own.status()["up"]
    own.local("up")
    assert _crew(own) != old
    eventually("the guest is running", lambda: _running(own, WEB))
    own.gnt("gnt-instance", "stop", WEB)
    own.gnt("gnt-instance", "start", WEB)
    own.remove_all()


def test_down_and_up_bring_guests_back_and_more_nodes_can_join(own: Cluster) -> None:
    _add(own, WEB, "sim3")
    old = _crew(own)
    own.local("down")
    assert not alive(old)
    assert not processes_below(own.directory)
    own.local("up", "--simulated-nodes", "4")
    eventually("the guest is running", lambda: _running(own, WEB))
    names = {row["name"] for row in own.rows("gnt-node", "list", "-o", "name")}
    assert names == {"node1.gantry.test", *(f"sim{n}.gantry.test" for n in range(1, 5))}
    own.remove_all()


def test_a_node_that_was_removed_is_not_simulated_any_more(own: Cluster) -> None:
    own.gnt("gnt-node", "remove", "sim2")
    own.local("up")
    names = [node["name"] for node in own.status()["nodes"] if node["simulated"]]
    assert "sim2.gantry.test" not in names
    assert own.status()["up"]
    refused = own.local("up", "--simulated-nodes", "1", check=False)
    assert refused.status == 1
    assert "simulated nodes already" in refused.stderr


def test_an_up_that_was_cut_off_while_nodes_joined_is_finished(own: Cluster) -> None:
    """As after a kill between the join and gnt-node add: the machine has joined, no node yet."""
    there = {node["name"] for node in own.status()["nodes"]}
    blocked = own.root() / "etc/ganeti/hooks/node-add-pre.d/10-no"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("#!/bin/sh\nexit 1\n")
    blocked.chmod(0o755)
    wanted = str(len(there))  # one more than are simulated now
    failed = own.local("up", "--simulated-nodes", wanted, check=False)
    assert failed.status == 1
    assert "10-no" in failed.stderr
    blocked.unlink()
    own.local("up")
    assert len(own.rows("gnt-node", "list")) == len(there) + 1
    own.gnt("gnt-cluster", "verify")


def test_the_files_of_a_node_are_its_own(own: Cluster) -> None:
    root = own.directory / "sim1"
    assert (root / "srv/ganeti/os/noop").is_dir()
    assert "ready node=sim1.gantry.test" in (root / "var/log/gantry/agent.log").read_text()
    assert Path(root / "etc/gantry/pki/node.key").stat().st_mode & 0o777 == 0o600
