"""Bundles of hooks, as their author brings them to the nodes and back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"
ADD = "instance-add-pre.d"


@pytest.fixture
def pushed(cluster: Cluster) -> Iterator[Cluster]:
    """Without a bundle at both ends."""
    for file in cluster.directory.glob("node*/told"):
        file.unlink()
    yield cluster
    cluster.local("up")
    cluster.gnt("gnt-hook", "rollback", "--to", "0")
    assert {one["state"] for one in _status(cluster)} == {"none"}


def _status(cluster: Cluster) -> list[dict[str, Any]]:
    return cluster.rows("gnt-hook", "status")


def _numbers(cluster: Cluster) -> list[Any]:
    return [one["installed"] for one in _status(cluster)]


def _directory(place: Path, words: str) -> Path:
    """A script that tells who it is, by a program and settings beside it."""
    (place / ADD).mkdir(parents=True, exist_ok=True)
    (place / "site").mkdir(exist_ok=True)
    script = place / ADD / "20-tell"
    script.write_text(
        "#!/bin/sh\n"
        'read words < "$(dirname "$0")/../site/words"\n'
        'echo "$words" >> "$GANTRY_ROOT/told"\n'
    )
    script.chmod(0o755)
    (place / "site/words").write_text(f"{words}\n")
    return place


def _told(cluster: Cluster, node: int) -> str:
    """What the scripts of a node told since the last question."""
    file = cluster.root(node) / "told"
    text = file.read_text() if file.exists() else ""
    file.unlink(missing_ok=True)
    return text.strip()


def _add(cluster: Cluster, node: int = 2) -> None:
    cluster.add(WEB, node=node)
    cluster.gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)


def test_a_bundle_is_pushed_changed_and_taken_back(pushed: Cluster, tmp_path: Path) -> None:
    place = _directory(tmp_path / "hooks", "first")
    assert pushed.try_gnt("gnt-hook", "diff", str(place)).status == 1
    pushed.gnt("gnt-hook", "push", str(place))
    assert pushed.gnt("gnt-hook", "diff", str(place)) == ""
    [first, *_] = _numbers(pushed)
    assert _numbers(pushed) == [first] * 3
    _add(pushed)
    assert (_told(pushed, 1), _told(pushed, 2), _told(pushed, 3)) == ("first", "first", "")
    _directory(place, "second")
    said = pushed.try_gnt("gnt-hook", "diff", str(place)).stdout.splitlines()
    assert said == [f"node{n}.gantry.test ! site/words" for n in (1, 2, 3)]
    pushed.gnt("gnt-hook", "push", str(place))
    assert _numbers(pushed) == [first + 1] * 3
    _add(pushed)
    assert _told(pushed, 2) == "second"
    pushed.gnt("gnt-hook", "rollback")
    _add(pushed)
    assert _told(pushed, 2) == "first"
    pushed.gnt("gnt-hook", "rollback", "--to", str(first + 1))
    assert _numbers(pushed) == [first + 1] * 3


def test_one_node_first_then_all(pushed: Cluster, tmp_path: Path) -> None:
    place = _directory(tmp_path / "hooks", "some")
    pushed.gnt("gnt-hook", "push", "--node", "node2", str(place))
    status = _status(pushed)
    assert [one["state"] for one in status] == ["none", "ok", "none"]
    assert (status[0]["before"], status[1]["before"]) == (None, 0), "a rollback takes it away"
    pushed.gnt("gnt-hook", "push", str(place))
    assert [one["state"] for one in _status(pushed)] == ["ok"] * 3


def test_scripts_put_there_by_hand_stay_and_are_shown(pushed: Cluster, tmp_path: Path) -> None:
    pushed.hook(ADD, "50-local", 'echo local >> "$GANTRY_ROOT/told"\n', (2,))
    pushed.gnt("gnt-hook", "push", str(_directory(tmp_path / "hooks", "bundle")))
    shown = {one["node"]: one["local"] for one in _status(pushed)}
    assert shown["node2.gantry.test"] == [f"{ADD}/50-local"]
    _add(pushed)
    assert _told(pushed, 2).split() == ["bundle", "local"]


def test_a_local_script_of_that_name_stops_the_push_on_all_nodes(
    pushed: Cluster, tmp_path: Path
) -> None:
    place = _directory(tmp_path / "hooks", "bundle")
    pushed.hook(ADD, "20-tell", 'echo local >> "$GANTRY_ROOT/told"\n', (2,))
    said = pushed.refused("gnt-hook", "push", str(place))
    assert f"node2.gantry.test: {ADD}/20-tell" in said
    assert "--replace" in said
    assert [one["state"] for one in _status(pushed)] == ["none"] * 3
    pushed.gnt("gnt-hook", "push", "--replace", str(place))
    _add(pushed)
    assert _told(pushed, 2) == "bundle"


def test_a_node_that_was_away_gets_the_bundle_when_it_is_back(
    pushed: Cluster, tmp_path: Path
) -> None:
    pushed.kill("agent", 3)
    done = pushed.try_gnt("gnt-hook", "push", str(_directory(tmp_path / "hooks", "late")))
    assert done.status == 0, done.said
    assert "node3.gantry.test does not answer: it gets bundle" in done.said
    assert [one["state"] for one in _status(pushed)] == ["ok", "ok", "away"]
    pushed.local("up")
    eventually(
        "the node has the bundle",
        lambda: [one["state"] for one in _status(pushed)] == ["ok"] * 3,
    )
    assert (pushed.root(3) / "etc/ganeti/hooks" / ADD / "20-tell").exists()


def test_drift_is_shown_and_a_push_mends_it(pushed: Cluster, tmp_path: Path) -> None:
    place = _directory(tmp_path / "hooks", "right")
    pushed.gnt("gnt-hook", "push", str(place))
    (pushed.root(3) / "etc/ganeti/hooks/site/words").write_text("wrong\n")
    (pushed.root(2) / "etc/ganeti/hooks" / ADD / "20-tell").unlink()
    found = {one["node"]: (one["state"], one["drift"]) for one in _status(pushed)}
    assert found["node2.gantry.test"] == ("drift", [f"{ADD}/20-tell missing"])
    assert found["node3.gantry.test"] == ("drift", ["site/words changed"])
    pushed.gnt("gnt-hook", "push", str(place))
    assert [one["state"] for one in _status(pushed)] == ["ok"] * 3


@pytest.mark.parametrize("wrong", ["name", "link out", "pipe", "empty", "missing", "too large"])
def test_what_cannot_be_a_bundle_is_refused_before_anything_is_sent(
    cluster: Cluster, tmp_path: Path, wrong: str
) -> None:
    place = tmp_path / "hooks"
    if wrong not in ("empty", "missing"):
        _directory(place, "x")
    if wrong == "empty":
        place.mkdir()
    elif wrong == "name":
        (place / "a b").write_text("")
    elif wrong == "link out":
        (place / "shadow").symlink_to("/etc/shadow")
    elif wrong == "pipe":
        os.mkfifo(place / "pipe")
    elif wrong == "too large":
        (place / "large").write_bytes(b"\0" * (5 * 1024 * 1024))
    before = cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id")
    done = cluster.try_gnt("gnt-hook", "push", str(place))
    assert done.status == 2, done.said
    assert str(place) in done.said
    assert cluster.gnt("gnt-job", "list", "--no-headers", "-o", "id") == before


def test_a_directory_with_errors_is_pushed_only_where_asked(
    pushed: Cluster, tmp_path: Path
) -> None:
    place = _directory(tmp_path / "hooks", "x")
    (place / ADD / "30-check.sh").write_text("#!/bin/sh\n")
    (place / ADD / "30-check.sh").chmod(0o755)
    done = pushed.try_gnt("gnt-hook", "push", str(place))
    assert done.status == 2
    assert f"{ADD}/30-check.sh: it never runs" in done.said
    assert "--no-lint" in done.said
    assert [one["state"] for one in _status(pushed)] == ["none"] * 3
    pushed.gnt("gnt-hook", "push", "--no-lint", str(place))
    assert [one["state"] for one in _status(pushed)] == ["ok"] * 3


def test_a_bundle_that_is_not_there_is_named(cluster: Cluster) -> None:
    assert "there is no bundle 999" in cluster.refused("gnt-hook", "rollback", "--to", "999")
