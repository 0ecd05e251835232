"""Masters, agents and guests that are killed: nothing is lost, nothing is half made."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"


@pytest.fixture
def slow(cluster: Cluster) -> Iterator[tuple[Path, Path]]:
    """An OS ``slow`` whose create script tells that it began, and waits to be let go on."""
    began, go = cluster.directory / "slow-began", cluster.directory / "slow-go"
    for file in (began, go):
        file.unlink(missing_ok=True)
    cluster.os_definition(
        "slow", f"echo $$ >> {began}\nwhile [ ! -e {go} ]; do sleep 0.05; done\nexit 0\n"
    )
    yield began, go
    go.touch()


def _submit_slow(cluster: Cluster, began: Path) -> str:
    said = cluster.gnt(
        "gnt-instance", "add", "--submit", "-t", "file", "-s", "16M", "-o", "slow",
        "-n", "node2", "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    eventually("the create script begins", began.exists)
    return said.split()[-1]


def _job_status(cluster: Cluster, job: str) -> str:
    (row,) = cluster.rows("gnt-job", "list", "-o", "status", job)
    status: str = row["status"]
    return status


def _whole_or_nothing(cluster: Cluster, job: str) -> None:
    """The instance is there, installed and running; or there is no trace of it."""
    status = _job_status(cluster, job)
    storage = cluster.root(2) / "srv/ganeti/file-storage"
    if status == "success":
        assert cluster.instance(WEB, "status")["status"] == "running"
        assert [file for file in storage.rglob("*") if file.is_file()]
    else:
        assert status == "error"
        assert cluster.instances() == []
        # What could not be undone while the agent was away is cleaned up once it is back.
        eventually("no trace is left", lambda: not list(storage.iterdir()))


def test_a_job_goes_on_after_the_master_was_killed(
    cluster: Cluster, slow: tuple[Path, Path]
) -> None:
    began, go = slow
    job = _submit_slow(cluster, began)
    cluster.kill("master")
    go.touch()
    cluster.local("up")
    cluster.try_gnt("gnt-job", "wait", job)
    assert _job_status(cluster, job) == "success"
    _whole_or_nothing(cluster, job)


def test_a_job_ends_one_way_or_the_other_after_its_agent_was_killed(
    cluster: Cluster, slow: tuple[Path, Path]
) -> None:
    began, go = slow
    job = _submit_slow(cluster, began)
    cluster.kill("agent", 2)
    go.touch()
    cluster.local("up")
    cluster.try_gnt("gnt-job", "wait", job)
    _whole_or_nothing(cluster, job)


def test_a_queued_job_is_not_lost_with_the_master(cluster: Cluster) -> None:
    job = cluster.gnt("gnt-debug", "delay", "--submit", "0.5").split()[-1]
    cluster.kill("master")
    cluster.local("up")
    assert cluster.try_gnt("gnt-job", "wait", job).status == 0
    assert _job_status(cluster, job) == "success"


def test_without_a_master_every_program_says_what_to_do(cluster: Cluster) -> None:
    cluster.kill("master")
    for program in ("gnt-instance", "gnt-node", "gnt-job"):
        said = cluster.refused(program, "list")
        assert "master" in said
    assert cluster.local("status", check=False).status == 1


def test_guests_outlive_their_agent_and_are_taken_over_again(cluster: Cluster) -> None:
    cluster.add(WEB, node=2)
    before = cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id").split()
    cluster.kill("agent", 2)
    cluster.local("up")
    eventually(
        "the guest is known to run",
        lambda: cluster.instance(WEB, "status")["status"] == "running",
    )
    after = cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id").split()
    assert after == before, "nothing had to be started again"


def test_a_guest_that_dies_is_started_again_by_a_job_with_its_hooks(cluster: Cluster) -> None:
    cluster.hook("instance-start-pre.d", "10-mark", 'touch "$GANTRY_ROOT/started-again"\n')
    mark = cluster.root(1) / "started-again"
    failures = cluster.root(2) / "etc/gantry/fake-failures.json"
    failures.write_text(json.dumps({WEB: {"die_after": 0.5}}))
    try:
        cluster.add(WEB, node=2)
        eventually("the guest died", mark.exists)
    finally:
        failures.unlink()
    eventually(
        "the guest runs again",
        lambda: cluster.instance(WEB, "status")["status"] == "running",
    )
    mark.unlink()


def test_a_node_whose_agent_is_gone_is_shown_as_down_and_comes_back(cluster: Cluster) -> None:
    cluster.add(WEB, node=3)
    cluster.kill("agent", 3)
    eventually(
        "the node is shown as down",
        lambda: cluster.instance(WEB, "status")["status"] == "ERROR_nodedown",
        timeout=13,
    )
    said = cluster.refused("gnt-instance", "stop", "web1")
    assert "node3" in said
    cluster.local("up")
    eventually("the node is back", lambda: cluster.instance(WEB, "status")["status"] == "running")


def test_a_master_that_waits_for_other_nodes_ends_when_it_is_told_to(cluster: Cluster) -> None:
    for role, number in (("agent", 2), ("agent", 3), ("master", 1)):
        cluster.kill(role, number)
    log = cluster.root() / "var/log/gantry/master.log"
    size = log.stat().st_size
    argv = [str(cluster.root() / "bin/gantry"), "master", "--root", str(cluster.root())]
    master = subprocess.Popen(argv, env=cluster.environment())
    try:
        eventually("it waits", lambda: "only 1 of 3 nodes answer" in log.read_text()[size:])
        master.terminate()
        assert master.wait(100) == 0
    finally:
        master.kill()
        master.wait()
    assert "before it was the master" in log.read_text()[size:]
    cluster.local("up")


def test_a_second_master_is_kept_out(cluster: Cluster) -> None:
    done = cluster.try_gnt("gantry", "master")
    assert done.status != 0
    assert "master" in done.said
    assert cluster.rows("gnt-node", "list")


def test_a_waiting_start_is_judged_by_what_the_nodes_say_and_not_by_silence(
    cluster: Cluster,
) -> None:
    """A new master that checks a queued job before any agent has spoken would refuse it."""
    cluster.add("patient.gantry.test", "--no-start")
    delay = cluster.gnt("gnt-debug", "delay", "-n", "node1", "--submit", "3").strip()
    start = cluster.gnt("gnt-instance", "start", "--submit", "patient").strip()
    cluster.kill("master")
    cluster.local("up")
    cluster.try_gnt("gnt-job", "wait", delay)
    done = cluster.try_gnt("gnt-job", "watch", start)
    assert done.status == 0, done.said
