"""A local cluster whose state is in three members of etcd."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster import Cluster, alive, eventually, kill

pytestmark = pytest.mark.parametrize("store", ["etcd"], indirect=True)
WEB = "web1.gantry.test"
KINDS = {"cluster", "nodes", "groups", "tokens", "joined", "bundles", "rollouts", "webhooks",
         "master", "serial", "election", "jobs"}  # fmt: skip
"""What keys may begin with where there are no instances and all jobs are archived."""


def member(cluster: Cluster, number: int) -> int:
    pid: int | None = cluster.status()["store"][number - 1]["pid"]
    assert pid is not None
    return pid


def members(cluster: Cluster) -> list[dict[str, Any]]:
    """As ``gnt-cluster info`` shows them."""
    found = json.loads(cluster.gnt("gnt-cluster", "info", "--json"))["store"]
    assert found["kind"] == "etcd"
    rows: list[dict[str, Any]] = found["members"]
    return rows


def test_a_member_that_is_lost_does_not_matter_and_comes_back(cluster: Cluster) -> None:
    assert cluster.status()["up"] is True
    kill(member(cluster, 1))
    cluster.add(WEB)
    cluster.gnt("gnt-instance", "stop", "web1")
    assert cluster.local("status", check=False).status == 1
    assert "down" in cluster.local("status", check=False).stdout
    lost, *others = members(cluster)
    assert "Connection refused" in lost["problem"]
    assert [each["problem"] for each in others] == ["", ""]
    assert sum(each["leader"] for each in others) == 1
    cluster.local("up")
    assert alive(member(cluster, 1))
    assert cluster.status()["up"] is True
    assert cluster.instance(WEB, "admin_state")["admin_state"] == "down"


def test_a_master_that_is_started_again_at_once_goes_on(cluster: Cluster) -> None:
    """Nobody else takes over before its lease is over, and itself needs not wait for that."""
    cluster.hook("master-failover-post.d", "10-tell", 'touch "$GANTRY_ROOT/run-moved"\n', (1, 2, 3))
    epoch = stored(cluster)["master/epoch"]
    cluster.kill("master")
    cluster.local("up")
    assert cluster.status()["nodes"][0]["master"]
    assert stored(cluster)["master/epoch"] != epoch
    assert not list(cluster.directory.glob("node*/run-moved"))


def test_without_a_majority_nothing_is_promised_and_everything_comes_back(
    cluster: Cluster,
) -> None:
    cluster.add(WEB, node=2)
    for number in (1, 2):
        kill(member(cluster, number))
    log = cluster.root() / "var/log/gantry/master.log"
    eventually(
        "the master says why it waits", lambda: "no member of etcd answers" in log.read_text()
    )
    cluster.local("up")
    assert cluster.status()["up"] is True
    eventually(
        "the guest is known",
        lambda: cluster.instance(WEB, "oper_state")["oper_state"] is not None,
    )
    cluster.gnt("gnt-instance", "remove", "-f", "web1")


def test_nobody_else_may_read_what_logs_in_to_etcd(cluster: Cluster) -> None:
    said = json.loads((cluster.root() / "etc/gantry/store.json").read_text())
    assert said["kind"] == "etcd"
    assert len(said["endpoints"]) == 3
    assert all(url.startswith("https://") for url in said["endpoints"])
    files = sorted((cluster.root() / "etc/gantry/store").iterdir())
    assert [file.name for file in files] == ["ca.pem", "client.key", "client.pem"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    assert not list((cluster.root() / "var/lib/gantry").glob("state.db*"))


def test_the_store_of_a_cluster_is_not_changed_by_up(cluster: Cluster) -> None:
    done = cluster.local("up", "--store", "sqlite", check=False)
    assert done.status != 0
    assert "was made with its state in etcd" in done.stderr


def test_what_does_not_belong_in_the_store_is_not_there(cluster: Cluster) -> None:
    """Archived jobs, runs of hooks and logs are kept elsewhere."""
    cluster.hook("instance-start-post.d", "10-say", "echo a-word-of-a-hook\n")
    cluster.add(WEB)
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    cluster.gnt("gnt-job", "archive", *finished(cluster))
    place = Path(json.loads(cluster.local("status", "--json").stdout)["nodes"][0]["root"])
    assert place == cluster.root()
    keys = stored(cluster)
    kinds = {key.partition("/")[0] for key in keys}
    assert kinds <= KINDS
    assert not [key for key in keys if key.startswith(("instances/", "journal/", "jobs/"))]
    assert not any("a-word-of-a-hook" in value for value in keys.values())


def finished(cluster: Cluster) -> list[str]:
    rows = cluster.rows("gnt-job", "list", "-o", "id,status")
    return [str(row["id"]) for row in rows if row["status"] in ("success", "error", "canceled")]


def stored(cluster: Cluster) -> dict[str, str]:
    """All keys and values, as etcd's own program sees them."""
    directory = cluster.root() / "etc/gantry/store"
    said = json.loads((cluster.root() / "etc/gantry/store.json").read_text())
    done = subprocess.run(
        [
            "etcdctl", "--endpoints", ",".join(said["endpoints"]),
            "--cacert", str(directory / "ca.pem"), "--cert", str(directory / "client.pem"),
            "--key", str(directory / "client.key"),
            "get", "--prefix", said["prefix"] + "d/", "-w", "json",
        ],
        env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=True, timeout=100,
    )  # fmt: skip
    start = len(said["prefix"] + "d/")
    return {
        base64.b64decode(each["key"]).decode()[start:]: base64.b64decode(each["value"]).decode()
        for each in json.loads(done.stdout)["kvs"]
    }


def test_a_state_is_copied_and_brought_back(cluster: Cluster) -> None:
    cluster.add(WEB, "--tags", "before", node=2)
    made = json.loads(cluster.gnt("gantry", "state", "backup", "--json"))["copy"]
    cluster.gnt("gnt-instance", "add-tags", "web1", "after")
    for number in (2, 3, 1):
        cluster.kill("master", number)
    # The lease holds for a while after their death.
    eventually(
        "nobody is master", lambda: cluster.try_gnt("gantry", "state", "restore", made).status == 0
    )
    assert made in cluster.gnt("gantry", "state", "list")
    cluster.local("up")
    assert cluster.gnt("gnt-instance", "list-tags", "web1").split() == ["before"]
    cluster.gnt("gnt-instance", "add-tags", "web1", "again")
