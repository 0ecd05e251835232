"""Commands typed on nodes without the master: on a candidate, and on one that is none."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import COMMAND, Cluster, eventually

CANDIDATE, REGULAR = 2, 3


@pytest.fixture
def cluster(cluster: Cluster) -> Iterator[Cluster]:
    """Node 2 is a candidate, node 3 is not."""
    cluster.gnt("gnt-node", "modify", "-C", "no", "node3")
    yield cluster
    cluster.gnt("gnt-node", "modify", "-C", "yes", "node3")


def test_a_candidate_does_all_and_another_node_looks(cluster: Cluster) -> None:
    assert cluster.gnt("gnt-cluster", "getmaster", node=REGULAR) == "node1.gantry.test\n"
    cluster.gnt(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node3", "-B", "memory=32M",
        "--no-nics", "web1.example.com", node=CANDIDATE,
    )  # fmt: skip
    here = cluster.gnt("gnt-instance", "list")
    assert "web1.example.com" in here
    for node in (CANDIDATE, REGULAR):
        assert cluster.gnt("gnt-instance", "list", node=node) == here
    (job,) = cluster.rows("gnt-job", "list", "-o", "id,requester", "-F", "requester =~ m/node2/")
    assert job["requester"] == "node:node2.gantry.test"
    watched = cluster.gnt("gnt-job", "watch", str(job["id"]), node=REGULAR)
    assert watched == cluster.gnt("gnt-job", "watch", str(job["id"]))
    refused = cluster.try_gnt("gnt-instance", "stop", "web1", node=REGULAR)
    assert refused.status == 1
    assert "node3.gantry.test is no master candidate" in refused.stderr
    assert cluster.instance("web1", "status")["status"] == "running"


def test_a_candidate_holds_what_a_master_needs_and_another_node_does_not(cluster: Cluster) -> None:
    def held(number: int) -> set[str]:
        place = cluster.root(number) / "etc/gantry"
        return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}

    keys = {"pki/ca.key", "pki/master.key", "pki/api.key"}
    eventually("node 2 has the keys", lambda: keys <= held(CANDIDATE))
    eventually("node 3 has none", lambda: not keys & held(REGULAR))
    assert "master.json" not in held(REGULAR)
    candidates = cluster.gnt("gnt-cluster", "info", "--json", node=REGULAR)
    assert json.loads(candidates)["master_candidates"] == ["node1.gantry.test", "node2.gantry.test"]
    verified = cluster.try_gnt("gnt-cluster", "verify", "--error-codes", node=CANDIDATE)
    assert "ECLUSTERCFG:cluster" in verified.said, "the pool is not full"
    assert "ERROR:ENODEFILECHECK" not in verified.said
    (cluster.root(CANDIDATE) / "etc/gantry/users").write_text("eve HASH write\n")
    (cluster.root(CANDIDATE) / "etc/gantry/pki/ca.key").unlink()
    told = cluster.try_gnt("gnt-cluster", "verify", "--error-codes").said
    assert "ENODEFILECHECK:node:node2.gantry.test:could not be the master" in told
    cluster.kill("agent", CANDIDATE)
    cluster.local("up")
    eventually("node 2 has the keys again", lambda: keys <= held(CANDIDATE))
    assert "users" not in held(CANDIDATE)


def test_a_hook_on_any_node_can_ask_and_does_not_wait_for_itself(cluster: Cluster) -> None:
    ask = (
        '"$GANTRY_ROOT/bin/gnt-instance" list --no-headers -o name,status > "$GANTRY_ROOT/asked"\n'
    )
    change = (
        '"$GANTRY_ROOT/bin/gnt-instance" stop "$GANETI_INSTANCE_NAME" 2> "$GANTRY_ROOT/said"\n'
        'echo "$?" >> "$GANTRY_ROOT/said"\n'
    )
    for number in (CANDIDATE, REGULAR):
        cluster.add(f"web{number}.example.com", "--no-start", node=number)
        cluster.hook("instance-start-pre.d", "10-ask", ask + change, (number,))
        cluster.gnt("gnt-instance", "start", f"web{number}")
        root = cluster.root(number)
        assert f"web{number}.example.com ADMIN_down" in (root / "asked").read_text().splitlines()
    assert "runs in a hook of job" in (cluster.root(CANDIDATE) / "said").read_text()
    assert "is no master candidate" in (cluster.root(REGULAR) / "said").read_text()


def test_a_followed_job_and_a_token_outlast_a_failover(cluster: Cluster, tmp_path: Path) -> None:
    began = time.monotonic()
    token = cluster.gnt("gantry", "token", "node9.gantry.test")
    # Longer than the master needs to move, which takes as long as some commands do.
    seconds = max(8, int(30 * (time.monotonic() - began)))
    following = subprocess.Popen(
        [cluster.root(REGULAR) / "bin/gnt-job", "watch", str(_delay(cluster, seconds))],
        env=cluster.environment(REGULAR),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        assert f"waiting {seconds} seconds" in following.stdout.readline(), "it follows"
        cluster.gnt("gnt-cluster", "master-failover", node=CANDIDATE)
        _, said = following.communicate(timeout=COMMAND + seconds)
        assert following.returncode == 0, said
        assert "goes on: the master is on node2.gantry.test" in said
        joined = subprocess.run(
            [cluster.root() / "bin/gantry", "join", "--root", tmp_path, "--address", "127.9.9.9"],
            input=token,
            capture_output=True,
            text=True,
            timeout=COMMAND,
            check=False,
        )
        assert "joined cluster.gantry.test as node9.gantry.test" in joined.stdout, joined.stderr
    finally:
        following.kill()
        cluster.gnt("gnt-cluster", "master-failover", "--to", "node1")
    assert cluster.gnt("gnt-cluster", "getmaster", node=REGULAR) == "node1.gantry.test\n"


def _delay(cluster: Cluster, seconds: int) -> int:
    """A job that runs, and goes on for so long."""
    number = int(cluster.gnt("gnt-debug", "delay", "--no-locks", "--submit", str(seconds)))

    def begun() -> bool:
        (row,) = cluster.rows("gnt-job", "list", "-o", "status", str(number))
        return bool(row["status"] == "running")

    eventually("the job runs", begun)
    return number
