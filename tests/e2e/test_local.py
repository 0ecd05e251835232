"""Local clusters themselves: up, down, status, env, add-node, and half-made ones."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from tests.support.cluster import (
    GANTRY,
    Cluster,
    alive,
    eventually,
    local_cluster,
    processes_below,
    short_directory,
)

OPTIONS = ("--hypervisors", "fake", "--no-kernel")
WEB = "web1.gantry.test"


@pytest.fixture(scope="module", params=["sqlite", "etcd"])
def own(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A small cluster of this module, beside the session's."""
    with local_cluster("--nodes", "1", *OPTIONS, "--store", request.param) as cluster:
        yield cluster


on_a_file = pytest.mark.parametrize("own", ["sqlite"], indirect=True)
"""Of a test that is about a file, or not about the state at all."""


def test_up_again_changes_nothing(own: Cluster) -> None:
    before = own.status()
    own.local("up")
    assert own.status() == before


def test_two_clusters_live_side_by_side(own: Cluster, running_cluster: Cluster) -> None:
    mine, other = (
        {node["primary_ip"] for node in cluster.status()["nodes"]}
        for cluster in (own, running_cluster)
    )
    assert not mine & other
    own.add(WEB)
    assert WEB not in running_cluster.instances()
    own.remove_all()


def test_a_node_is_added_by_a_real_join(own: Cluster) -> None:
    own.local("add-node")
    rows = own.rows("gnt-node", "list", "-o", "name")
    assert [row["name"] for row in rows] == ["node1.gantry.test", "node2.gantry.test"]
    own.add(WEB, node=2)
    own.remove_all()


@on_a_file
def test_the_environment_lets_a_shell_use_the_programs(own: Cluster) -> None:
    script = 'eval "$("$@")" && gnt-cluster getmaster'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *GANTRY, "local", "env", "--dir", str(own.directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "node1.gantry.test", done.stderr


@on_a_file
def test_status_shows_guests_where_they_run(own: Cluster) -> None:
    own.add(WEB)
    nodes = own.status()["nodes"]
    assert nodes[0]["guests"] == [WEB]
    assert "web1.gantry.test" in own.local("status").stdout
    own.remove_all()


def test_down_ends_all_and_up_starts_what_was_up(own: Cluster) -> None:
    own.add("up.gantry.test")
    own.add("down.gantry.test")
    own.gnt("gnt-instance", "stop", "down")
    pids = [own.pid("master"), own.pid("agent")]
    own.local("down")
    assert not any(alive(pid) for pid in pids if pid)
    assert not processes_below(own.directory)
    assert not [path for path in own.directory.rglob("*") if path.is_socket()]
    own.local("down")  # again: nothing to do, no complaint
    own.local("up")
    eventually(
        "the guest that was up is up again",
        lambda: own.instance("up.gantry.test", "status")["status"] == "running",
    )
    assert own.instance("down.gantry.test", "status")["status"] == "ADMIN_down"
    own.remove_all()


def test_down_can_leave_the_guests(own: Cluster) -> None:
    own.add(WEB)
    jobs = own.gnt("gnt-job", "list", "--no-headers", "-o", "id,summary").splitlines()
    own.local("down", "--keep-guests")
    own.local("up")
    eventually(
        "the guest is taken over", lambda: own.instance(WEB, "status")["status"] == "running"
    )
    assert own.gnt("gnt-job", "list", "--no-headers", "-o", "id,summary").splitlines() == jobs
    own.remove_all()


@pytest.mark.parametrize(
    ("store", "moment"),
    [
        ("sqlite", "making the cluster"),
        ("sqlite", "starting the master"),
        ("sqlite", "joining node2"),
        ("etcd", "making the cluster"),
    ],
    indirect=["store"],
)
def test_an_up_that_was_killed_in_the_middle_is_finished_by_the_next(
    store: str, moment: str
) -> None:
    with short_directory() as directory:
        cluster = Cluster(directory)
        up = ["up", "--dir", str(directory), "--nodes", "2", *OPTIONS, "--store", store]
        with subprocess.Popen(
            [*GANTRY, "local", *up], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if moment in line:
                    process.kill()
                    break
        try:
            cluster.local("up")
            assert cluster.status()["up"]
            assert len(cluster.rows("gnt-node", "list")) == 2
            cluster.gnt("gnt-cluster", "verify")
        finally:
            cluster.local("down")
            assert not processes_below(directory)


@on_a_file
def test_a_damaged_store_is_told_and_restored(own: Cluster) -> None:
    own.add(WEB)
    copies = str(own.directory / "copies")
    own.gnt("gantry", "state", "backup", "--directory", copies)
    own.local("down", "--keep-guests")
    store = own.root() / "var/lib/gantry/state.db"
    for extra in store.parent.glob(store.name + "-*"):
        extra.unlink()
    store.write_bytes(b"this is no database" * 1000)
    failed = own.local("up", check=False)
    assert failed.status == 1
    assert "gantry state restore" in failed.said
    own.gnt("gantry", "state", "restore", "--directory", copies)
    own.local("up")
    assert own.instances() == [WEB]
    own.remove_all()


def test_a_directory_that_is_too_deep_is_refused_before_anything_is_made() -> None:
    with short_directory() as directory:
        deep = directory / ("x" * 80)
        done = Cluster(deep).local("up", check=False)
        assert done.status == 1 or done.status == 2
        assert "too long" in done.stderr
        assert not deep.exists()


def test_a_directory_with_other_files_is_left_alone() -> None:
    with short_directory() as directory:
        (directory / "thesis.txt").write_text("three years of work")
        done = Cluster(directory).local("up", check=False)
        assert done.status == 1
        assert "thesis.txt" in done.stderr
        assert (directory / "thesis.txt").read_text() == "three years of work"


@pytest.mark.parametrize("command", ["down", "status", "env", "add-node"])
def test_where_there_is_no_cluster_it_is_said_so(command: str) -> None:
    with short_directory() as directory:
        done = Cluster(directory).local(command, check=False)
        assert done.status == 1
        assert "there is no local cluster" in done.stderr


@on_a_file
def test_status_is_one_object_for_programs(own: Cluster) -> None:
    found = json.loads(own.local("status", "--json").stdout)
    assert found["cluster"] == "cluster.gantry.test"
    assert found["up"] is True
    assert set(found["nodes"][0]) >= {"name", "root", "primary_ip", "agent_pid", "guests"}
