"""Masters and agents are killed at random while clients work; a seed replays its round.

What must hold afterwards: no accepted job is lost, every job has ended, and disks, guests and
records agree.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually

CLIENTS = 3
KILLS = 5
ROLES = (("master", 1), ("agent", 1), ("agent", 2), ("agent", 3))


class Client(threading.Thread):
    """Submits operations on instances of its own until it is told to stop."""

    def __init__(self, cluster: Cluster, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.cluster = cluster
        self.chance = random.Random(f"{seed}/{number}")
        self.names = [f"kill{number}{letter}.gantry.test" for letter in "ab"]
        self.accepted: list[int] = []
        self.stop = threading.Event()
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            name = self.chance.choice(self.names)
            done = self.cluster.try_gnt(
                "gnt-instance", *self._operation(name), "--submit", "--json", timeout=90
            )
            if done.status == 0:
                self.accepted.append(int(json.loads(done.stdout)["job"]))
            elif not done.stderr:
                self.problems.append(f"failed without a word: {done}")

    def _operation(self, name: str) -> list[str]:
        kind = self.chance.choice(["add", "add", "stop", "start", "modify", "remove", "tags"])
        match kind:
            case "add":
                node = f"node{self.chance.randint(1, 3)}"
                return [
                    "add", "-t", "file", "-s", "2M", "-o", "noop", "-n", node,
                    "-B", "memory=16M", "--no-nics", name,
                ]  # fmt: skip
            case "stop":
                return ["stop", "--timeout=1", name]
            case "start":
                return ["start", name]
            case "modify":
                return ["modify", "-B", f"memory={self.chance.randint(16, 64)}M", name]
            case "remove":
                return ["remove", "-f", "--shutdown-timeout=1", name]
            case _:
                return ["add-tags", name, f"turn:{self.chance.randint(1, 99)}"]


@pytest.fixture
def working(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.local("up")


@pytest.mark.parametrize(("store", "seed"), [("sqlite", 1), ("etcd", 2)], indirect=["store"])
def test_nothing_is_lost_or_left_when_daemons_are_killed(working: Cluster, seed: int) -> None:
    check_round(working, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 130))
def test_nothing_is_lost_or_left_in_many_rounds(working: Cluster, seed: int) -> None:
    check_round(working, seed)


def check_round(cluster: Cluster, seed: int) -> None:
    chance = random.Random(seed)
    clients = [Client(cluster, number, seed) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for _ in range(KILLS):
        enough = sum(len(client.accepted) for client in clients) + chance.randint(1, 6)
        eventually(
            "clients get on",
            lambda: sum(len(client.accepted) for client in clients) >= enough,  # noqa: B023
        )
        role, node = chance.choice(ROLES)
        cluster.kill(role, node)
        cluster.local("up")
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(timeout=120)
        assert not client.problems
    accepted = [job for client in clients for job in client.accepted]
    assert accepted
    _all_ended(cluster, accepted)
    _agrees(cluster)


def _all_ended(cluster: Cluster, accepted: list[int]) -> None:
    def open_jobs() -> list[dict[str, object]]:
        rows = cluster.rows("gnt-job", "list", "-o", "id,status,summary")
        ended = ("success", "error", "canceled")
        return [row for row in rows if row["status"] not in ended]

    eventually("every job ends", lambda: not open_jobs())
    known = {row["id"] for row in cluster.rows("gnt-job", "list", "-o", "id")}
    assert set(accepted) <= known
    assert cluster.rows("gnt-debug", "locks") == []


def _agrees(cluster: Cluster) -> None:
    """Records, disks and guests say the same, on every node."""
    rows = cluster.rows("gnt-instance", "list", "-o", "name,pnode,admin_state")
    expected = {(row["name"], row["pnode"].partition(".")[0]) for row in rows}

    def found() -> set[tuple[str, str]]:
        places = cluster.directory.glob("node?/srv/ganeti/file-storage/*/*.disk0")
        return {
            (Path(one).parent.name, Path(one).relative_to(cluster.directory).parts[0])
            for one in places
        }

    eventually(
        "disks are where their instances are, and nowhere else",
        lambda: found() == expected,
    )

    def settled() -> bool:
        states = cluster.rows("gnt-instance", "list", "-o", "name,status")
        return all(row["status"] in ("running", "ADMIN_down") for row in states)

    eventually("every guest is as it should be", settled)
    done = cluster.try_gnt("gnt-cluster", "verify")
    assert done.status == 0, done.said
