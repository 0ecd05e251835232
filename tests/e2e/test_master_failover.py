"""The master moves: asked for, by itself where the store is etcd, and out of a copy."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually, kill, local_cluster

pytestmark = pytest.mark.e2e

TELL = 'echo "$GANETI_HOOKS_PHASE $GANETI_OLD_MASTER $GANETI_NEW_MASTER" >> $GANTRY_ROOT/told\n'
NODES = ("--nodes", "3", "--hypervisors", "fake", "--no-kernel")
IN_ETCD = ("--store", "etcd")
MANY = range(3, 33)
"""Seeds that are tried in the long run only."""


def name(number: int) -> str:
    return f"node{number}.gantry.test"


def candidates_ready(cluster: Cluster) -> None:
    """All nodes have what a master needs, and wait."""

    def ready(number: int) -> bool:
        root = cluster.root(number)
        waits = (root / "run/gantry/standby.sock").exists()
        return waits and (root / "etc/gantry/pki/api.key").exists()

    for number in (2, 3):
        eventually(f"node{number} could be master", partial(ready, number))


@pytest.fixture(scope="module")
def file_cluster() -> Iterator[Cluster]:
    with local_cluster(*NODES) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def etcd_cluster() -> Iterator[Cluster]:
    with local_cluster(*NODES, *IN_ETCD) as cluster:
        candidates_ready(cluster)
        cluster.gnt("gnt-cluster", "modify", "--master-lease", "2")
        # A lease is what it was when its master began.
        move(cluster, 2)
        yield cluster


@pytest.fixture
def on_file(file_cluster: Cluster) -> Cluster:
    return at_home(file_cluster)


@pytest.fixture
def on_etcd(etcd_cluster: Cluster) -> Cluster:
    return at_home(etcd_cluster)


@pytest.fixture(params=["sqlite", "etcd"])
def moving(request: pytest.FixtureRequest) -> Cluster:
    known = {"sqlite": "file_cluster", "etcd": "etcd_cluster"}
    return at_home(request.getfixturevalue(known[request.param]))


def at_home(cluster: Cluster) -> Cluster:
    """Everything runs, the master on node1, and nothing is left of other tests."""
    cluster.local("up")
    cluster.no_hooks()
    if master(cluster) != 1:
        move(cluster, 1)
    candidates_ready(cluster)
    for file in cluster.directory.glob("node*/told"):
        file.unlink()
    return cluster


def move(cluster: Cluster, number: int) -> None:
    cluster.gnt("gnt-cluster", "master-failover", node=number)
    assert master(cluster) == number


def master(cluster: Cluster) -> int:
    """The number of the node whose process is the master; there is one."""
    eventually("a master serves", lambda: any(one["master"] for one in cluster.status()["nodes"]))
    found = [n for n, one in enumerate(cluster.status()["nodes"], 1) if one["master"]]
    assert len(found) == 1, found
    return found[0]


def told(cluster: Cluster, number: int) -> list[str]:
    file = cluster.root(number) / "told"
    return file.read_text().splitlines() if file.exists() else []


def was_told(cluster: Cluster, number: int, lines: list[str]) -> bool:
    return told(cluster, number) == lines


def knows(cluster: Cluster, node: int, number: int) -> bool:
    return cluster.gnt("gnt-cluster", "getmaster", node=node).strip() == name(number)


def jobs(cluster: Cluster, node: int) -> dict[int, str]:
    rows = json.loads(cluster.gnt("gnt-job", "list", "-o", "id,status", "--json", node=node))
    return {row["id"]: row["status"] for row in rows}


def end_of(cluster: Cluster, number: int) -> str:
    status = jobs(cluster, 3)[number]
    return status if status in ("success", "error") else ""


def copied(cluster: Cluster, number: int) -> bool:
    """Whether a node has a copy with an instance, and not only with the job that is to make it."""
    for copy in cluster.root(number).glob("var/lib/gantry/copies/state-*.sqlite"):
        # A copy may be replaced by a newer one at any moment.
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as state,
        ):
            if state.execute("SELECT 1 FROM items WHERE key LIKE 'instances/%'").fetchone():
                return True
    return False


def state_files(cluster: Cluster, number: int) -> list[str]:
    place = cluster.root(number) / "var/lib/gantry"
    beside = (".lock", "-wal", "-shm")
    return sorted(path.name for path in place.glob("state.db*") if not path.name.endswith(beside))


def test_the_master_moves_with_its_jobs_and_its_scripts_are_told(moving: Cluster) -> None:
    cluster = moving
    cluster.hook("master-failover-pre.d", "10-tell", TELL, (1, 2, 3))
    cluster.hook("master-failover-post.d", "10-tell", TELL, (1, 2, 3))
    number = int(
        cluster.gnt("gnt-debug", "delay", "--no-master", "-n", "node3", "--submit", "3").strip()
    )
    said = cluster.gnt("gnt-cluster", "master-failover", node=2)
    assert "node2.gantry.test becomes the master" in said
    assert master(cluster) == 2
    names = f"{name(1)} {name(2)}"
    assert told(cluster, 2) == [f"PRE {names}", f"POST {names}"]
    assert told(cluster, 1) == told(cluster, 3) == [f"POST {names}"]
    # Whoever waits for a job follows it over.
    assert "success" in cluster.gnt("gnt-job", "wait", str(number), node=3) + str(
        jobs(cluster, 1)[number]
    )
    for node in (1, 2, 3):
        eventually(
            f"node{node} knows the new master",
            partial(knows, cluster, node, 2),
        )
        assert name(2) in cluster.gnt("gnt-cluster", "master-ping", node=node)
    move(cluster, 1)


def test_a_cluster_that_is_brought_up_again_has_its_master_where_it_was(on_file: Cluster) -> None:
    move(on_file, 2)
    on_file.local("down")
    on_file.local("up")
    assert master(on_file) == 2


def test_a_script_of_the_new_master_may_deny_it(moving: Cluster) -> None:
    cluster = moving
    cluster.hook("master-failover-pre.d", "10-no", "echo not now; exit 1\n", (2,))
    done = cluster.try_gnt("gnt-cluster", "master-failover", node=2)
    assert done.status != 0
    assert "not now" in done.said
    assert master(cluster) == 1
    move(cluster, 3)


def test_scripts_of_a_failure_that_run_while_the_master_moves_run_once(on_file: Cluster) -> None:
    """The new master, whose own name it would tell, waits for the run that there is."""
    cluster, go = on_file, on_file.directory / "run-go"
    cluster.add("web1.gantry.test", "--no-start", node=2)
    text = f'echo "$GANETI_MASTER" >> $GANTRY_ROOT/told\nwhile [ ! -e {go} ]; do sleep 0.05; done\n'
    cluster.hook("instance-start-pre.d", "10-no", "exit 1\n")
    cluster.hook("instance-start-fail.d", "50-tell", text, (1, 2))
    job = cluster.gnt("gnt-instance", "startup", "--submit", "web1.gantry.test").split()[-1]
    for number in (1, 2):
        eventually(f"node{number} is told", partial(was_told, cluster, number, [name(1)]))
    move(cluster, 2)
    go.touch()
    assert cluster.try_gnt("gnt-job", "wait", job, node=2).status == 1
    assert [told(cluster, number) for number in (1, 2)] == [[name(1)], [name(1)]]
    log = cluster.gnt("gnt-job", "info", job, node=2).partition("\n  log:")[2]
    assert "fail scripts" not in log, log
    go.unlink()
    cluster.gnt("gnt-instance", "remove", "--force", "web1.gantry.test", node=2)


def test_who_cannot_be_master_is_refused(on_file: Cluster) -> None:
    cluster = on_file
    assert "is the master already" in cluster.refused("gnt-cluster", "master-failover")
    cluster.kill("master", 2)
    assert "no master process waits" in cluster.refused(
        "gnt-cluster", "master-failover", "--to", "node2"
    )
    cluster.kill("agent", 3)
    eventually(
        "node3 is lost",
        lambda: (
            "does not answer" in cluster.refused("gnt-cluster", "master-failover", "--to", "node3")
        ),
    )
    cluster.gnt("gnt-node", "modify", "-C", "no", "node2")
    assert "no candidate" in cluster.refused("gnt-cluster", "master-failover", "--to", "node2")
    assert master(cluster) == 1
    cluster.gnt("gnt-node", "modify", "-C", "yes", "node2")


def test_a_copy_is_taken_when_the_master_is_dead_and_it_steps_back_when_it_returns(
    on_file: Cluster,
) -> None:
    cluster = on_file
    cluster.hook("master-failover-post.d", "10-tell", TELL, (2, 3))
    cluster.add("web1", node=2)
    known = cluster.gnt("gnt-instance", "list", "-o", "name,uuid")
    eventually("node 3 has a copy with web1", partial(copied, cluster, 3))
    assert "the master answers" in cluster.refused(
        "gnt-cluster", "master-failover", "--from-copy", "--yes-do-it"
    )
    # The master's machine is off.
    cluster.kill("master", 1)
    cluster.kill("agent", 1)
    done = cluster.try_gnt("gnt-cluster", "master-failover", node=3)
    assert done.status != 0
    done = cluster.try_gnt("gnt-cluster", "master-failover", "--from-copy", node=3)
    assert done.status != 0
    assert "seconds old" in done.said and "node1.gantry.test" in done.said
    assert "state.db" not in state_files(cluster, 3)
    cluster.gnt("gnt-cluster", "master-failover", "--from-copy", "--yes-do-it", node=3)
    assert master(cluster) == 3
    assert cluster.gnt("gnt-instance", "list", "-o", "name,uuid", node=2) == known
    eventually(
        "the scripts were told",
        lambda: told(cluster, 2) == told(cluster, 3) == [f"POST {name(1)} {name(3)}"],
        90,
    )
    # The old one comes back with its state, finds out, and waits.
    cluster.local("up")
    eventually("the old state is set aside", lambda: "state.db" not in state_files(cluster, 1))
    assert any(one.startswith("state.db.replaced-") for one in state_files(cluster, 1))
    assert master(cluster) == 3


def test_another_candidate_takes_over_by_itself(on_etcd: Cluster) -> None:
    cluster = on_etcd
    cluster.hook("master-failover-post.d", "10-tell", TELL, (1, 2, 3))
    number = int(
        cluster.gnt("gnt-debug", "delay", "--no-master", "-n", "node3", "--submit", "4").strip()
    )
    cluster.kill("master", 1)
    now = master(cluster)
    assert now in (2, 3)
    cluster.gnt("gnt-job", "wait", str(number), node=3)
    assert jobs(cluster, 1)[number] == "success"
    for node in (1, 2, 3):
        eventually(
            f"the scripts of node{node} were told",
            partial(was_told, cluster, node, [f"POST {name(1)} {name(now)}"]),
        )
    # The one that was killed comes back and waits.
    cluster.local("up")
    assert master(cluster) == now


def test_a_frozen_master_does_nothing_more_when_it_wakes(on_etcd: Cluster) -> None:
    cluster = on_etcd
    pid = cluster.pid("master", 1)
    assert pid is not None
    # Orders that it has begun to give must not be carried out by what it wakes up with.
    waiting = subprocess.Popen(
        [str(cluster.root(1) / "bin/gnt-debug"), "delay", "-n", "node2", "0.5", "-r", "200"],
        env=cluster.environment(1),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually("the job runs", lambda: "running" in cluster.gnt("gnt-job", "list"))
        os.kill(pid, signal.SIGSTOP)
        now = eventually(
            "another one is the master",
            lambda: next(
                (n for n in (2, 3) if (cluster.root(n) / "run/gantry/master.sock").exists()), 0
            ),
        )
        before = epochs(cluster)
        os.kill(pid, signal.SIGCONT)
        eventually(
            "the old one waits",
            lambda: (cluster.root(1) / "run/gantry/standby.sock").exists(),
        )
        assert cluster.pid("master", 1) == pid
        assert master(cluster) == now
        assert epochs(cluster) == before
    finally:
        waiting.kill()
        waiting.wait()


def epochs(cluster: Cluster) -> list[str]:
    """What the agents say of new masters, in their logs."""
    found = []
    for number in (1, 2, 3):
        log = Path(cluster.root(number) / "var/log/gantry/agent.log").read_text()
        found += [line.rpartition(" ")[2] for line in log.splitlines() if "new epoch" in line]
    return found


def test_the_new_master_dies_where_it_takes_over(moving: Cluster) -> None:
    """Killed as soon as it has begun: whoever comes next goes on, and nothing is lost."""
    cluster = moving
    cluster.hook("master-failover-post.d", "10-slow", TELL + "sleep 1\n", (1, 2, 3))
    submitted = cluster.gnt("gnt-cluster", "master-failover", "--to", "node2", "--submit")
    number = int(submitted.strip())
    socket = cluster.root(2) / "run/gantry/master.sock"
    eventually("node2 is the master", socket.exists)
    pid = cluster.pid("master", 2)
    assert pid is not None
    kill(pid)
    cluster.local("up")
    cluster.gnt("gnt-job", "wait", str(number), node=3)
    assert jobs(cluster, 1)[number] == "success"
    assert f"POST {name(1)} {name(2)}" in told(cluster, 3)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.long) for n in MANY)])
def test_who_is_killed_at_any_moment_of_a_move(moving: Cluster, seed: int) -> None:
    """Old and new master, their agents: one master comes out of it, and the job has an end."""
    cluster, chance = moving, random.Random(seed)
    cluster.hook("master-failover-pre.d", "10-tell", TELL, (2,))
    cluster.hook("master-failover-post.d", "10-tell", TELL, (1, 2, 3))
    submitted = cluster.gnt("gnt-cluster", "master-failover", "--to", "node2", "--submit")
    number = int(submitted.strip())
    victims = chance.sample([("master", 1), ("master", 2), ("agent", 1), ("agent", 2)], 2)
    for role, node in victims:
        time.sleep(chance.uniform(0.0, 0.6))
        if cluster.pid(role, node) is not None:
            cluster.kill(role, node)
    cluster.local("up")
    now = master(cluster)
    ended = eventually("the job ends", partial(end_of, cluster, number), 120)
    if ended == "error":
        assert not any(
            line.startswith("POST") and line.endswith(name(2)) for line in told(cluster, 2)
        )
    serving = [n for n in (1, 2, 3) if (cluster.root(n) / "run/gantry/master.sock").exists()]
    assert serving == [now], victims
