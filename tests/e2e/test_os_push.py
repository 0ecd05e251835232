"""An OS definition as its author brings it to the nodes, watches it there, and goes back."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster import Cluster, eventually

from gantry.local.shipped import shipped

WEB = "web1.gantry.test"
NAME = "mine"
PLACE = f"srv/ganeti/os/{NAME}"


@pytest.fixture
def pushed(cluster: Cluster) -> Iterator[Cluster]:
    """Without a pushed definition at both ends."""
    yield cluster
    cluster.local("up")
    cluster.remove_all()
    cluster.gnt("gnt-os", "rollback", NAME, "--to", "0")
    assert {one["state"] for one in _status(cluster)} <= {"none", "local"}


def _status(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.rows("gnt-os", "status", NAME)


def _states(cluster: Cluster) -> list[str]:
    return [one["state"] for one in _status(cluster)]


def _definition(place: Path, words: str) -> Path:
    """One that says who it is when it installs, from a file of its own."""
    shutil.copytree(shipped("os/noop"), place, dirs_exist_ok=True)
    (place / "create").write_text('#!/bin/sh\ncat "$(dirname "$0")/parts/words"\n')
    (place / "parts").mkdir(exist_ok=True)
    (place / "parts/words").write_text(f"{words}\n")
    return place


def _installed(cluster: Cluster) -> str:
    """What an instance's installation says; it is taken away again."""
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "1M", "-o", NAME, "-n", "node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    logs = sorted(
        cluster.root(2).glob(f"var/log/ganeti/os/add-{NAME}-*"), key=lambda one: one.stat().st_mtime
    )
    cluster.gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)
    return logs[-1].read_text().strip()


def test_pushed_watched_drifted_and_taken_back(pushed: Cluster, tmp_path: Path) -> None:
    place = _definition(tmp_path / NAME, "first")
    assert pushed.try_gnt("gnt-os", "diff", str(place)).status == 1
    pushed.gnt("gnt-os", "push", str(place))
    assert pushed.gnt("gnt-os", "diff", str(place)) == ""
    first = _status(pushed)[0]["installed"]
    assert _states(pushed) == ["ok"] * 3
    _definition(place, "second")
    said = pushed.try_gnt("gnt-os", "diff", str(place)).stdout.splitlines()
    assert said == [f"node{n}.gantry.test ! parts/words" for n in (1, 2, 3)]
    pushed.gnt("gnt-os", "push", str(place))
    assert _installed(pushed) == "second"
    (pushed.root(3) / PLACE / "parts/words").write_text("wrong\n")
    (pushed.root(2) / PLACE / "parts/more").write_text("")
    found = {one["node"]: (one["state"], one["drift"]) for one in _status(pushed)}
    assert found["node2.gantry.test"] == ("drift", ["parts/more added"])
    assert found["node3.gantry.test"] == ("drift", ["parts/words changed"])
    pushed.gnt("gnt-os", "rollback", NAME)
    assert [one["installed"] for one in _status(pushed)] == [first] * 3
    assert _installed(pushed) == "first"
    pushed.gnt("gnt-os", "push", str(place))
    assert (_states(pushed), _installed(pushed)) == (["ok"] * 3, "second")
    pushed.gnt(
        "gnt-instance", "add", "-t", "diskless", "-o", NAME, "-n", "node2", "-B", "memory=32M",
        "--no-nics", "--no-start", WEB,
    )  # fmt: skip
    warned = pushed.try_gnt("gnt-os", "rollback", NAME, "--to", "0").said
    assert f"{WEB} have OS {NAME}" in warned
    assert _states(pushed) == ["none"] * 3


def test_one_put_there_by_hand_is_shown_and_kept(pushed: Cluster, tmp_path: Path) -> None:
    pushed.os_definition(NAME, "echo by hand\n", (2,))
    shown = {
        one["node"]: one["state"]
        for one in pushed.rows("gnt-os", "status")
        if one["os"] == NAME and one["state"] == "local"
    }
    assert shown == {"node2.gantry.test": "local"}
    place = _definition(tmp_path / NAME, "pushed")
    said = pushed.refused("gnt-os", "push", str(place))
    assert f"node2.gantry.test: {NAME}" in said
    assert "--replace" in said
    assert not (pushed.root(1) / PLACE).exists()
    pushed.gnt("gnt-os", "push", "--force", str(place))
    assert _installed(pushed) == "pushed"
    aside = pushed.root(2) / f"srv/ganeti/os/.bundles/{NAME}/aside"
    [kept] = aside.glob(f"*/{NAME}/create")
    assert "by hand" in kept.read_text()


def test_a_node_that_was_away_gets_it_when_it_is_back(pushed: Cluster, tmp_path: Path) -> None:
    pushed.kill("agent", 3)
    done = pushed.try_gnt("gnt-os", "push", str(_definition(tmp_path / NAME, "late")))
    assert done.status == 0, done.said
    assert "node3.gantry.test does not answer: it gets version" in done.said
    assert _states(pushed) == ["ok", "ok", "away"]
    pushed.local("up")
    eventually("it has it", lambda: _states(pushed) == ["ok"] * 3)


def test_verify_warns_of_a_node_that_lost_it(pushed: Cluster, tmp_path: Path) -> None:
    pushed.gnt("gnt-os", "push", str(_definition(tmp_path / NAME, "x")))
    (pushed.root(2) / f"srv/ganeti/os/.bundles/{NAME}/current").unlink()
    assert _states(pushed)[1] == "behind"
    said = pushed.try_gnt("gnt-cluster", "verify").said
    assert f"of the OS {NAME} and has not: gnt-os status" in said


def test_what_cannot_be_pushed_is_refused_before_anything_is_sent(
    cluster: Cluster, tmp_path: Path
) -> None:
    place = _definition(tmp_path / NAME, "x")
    (place / "rename").unlink()
    before = cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id")
    done = cluster.try_gnt("gnt-os", "push", str(place))
    assert (done.status, "rename: is missing" in done.said, "--no-lint" in done.said) == (
        2, True, True,
    )  # fmt: skip
    named = cluster.try_gnt("gnt-os", "push", "--name", "../x", str(place))
    assert (named.status, "cannot be the name" in named.said) == (2, True)
    assert cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id") == before
    assert json.loads(cluster.try_gnt("gnt-os", "lint", "--json", str(place)).stdout)["findings"]
    assert "there is no version 9" in cluster.refused("gnt-os", "rollback", NAME, "--to", "9")
