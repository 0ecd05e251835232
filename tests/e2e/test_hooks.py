"""Hook scripts as a site meets them: where they run, with what, and what a denial does."""

from pathlib import Path

import pytest
from tests.support.cluster import Cluster

WEB = "web1.gantry.test"
DUMP = """
mkdir -p "$GANTRY_ROOT/dumps"
env > "$GANTRY_ROOT/dumps/$GANETI_HOOKS_PATH-$GANETI_HOOKS_PHASE"
"""
ALL = (1, 2, 3)


def _dump(cluster: Cluster, node: int, name: str) -> dict[str, str]:
    text = (cluster.root(node) / "dumps" / name).read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _dumps(cluster: Cluster, node: int) -> set[str]:
    place = cluster.root(node) / "dumps"
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


@pytest.fixture(autouse=True)
def no_dumps(cluster: Cluster) -> None:
    for path in cluster.directory.glob("node*/dumps/*"):
        path.unlink()


@pytest.mark.parametrize(("version", "pre", "post"), [("1", "PRE", "POST"), ("2", "pre", "post")])
def test_hooks_run_on_the_master_and_the_instances_node_with_what_is_promised(
    cluster: Cluster, version: str, pre: str, post: str
) -> None:
    if version == "2":
        cluster.gnt("gnt-cluster", "modify", "--hooks-version", "2")
    try:
        for phase in ("pre", "post"):
            cluster.hook(f"instance-add-{phase}.d", "10-dump", DUMP, ALL)
        cluster.add(WEB, node=2)
    finally:
        if version == "2":
            cluster.gnt("gnt-cluster", "modify", "--hooks-version", "1")
    for node in (1, 2):
        assert _dumps(cluster, node) == {f"instance-add-{pre}", f"instance-add-{post}"}
        given = _dump(cluster, node, f"instance-add-{pre}")
        assert given["GANETI_HOOKS_VERSION"] == version
        assert given["GANETI_HOOKS_PHASE"] == pre
        assert given["GANETI_INSTANCE_NAME"] == WEB
        assert given["GANETI_INSTANCE_PRIMARY"] == "node2.gantry.test"
        assert given["GANETI_MASTER"] == "node1.gantry.test"
        assert given["GANETI_CLUSTER"] == "cluster.gantry.test"
        assert given["GANTRY_ROOT"] == str(cluster.root(node))
        assert given["PATH"] == "/sbin:/bin:/usr/sbin:/usr/bin"
        allowed = {"PATH", "PWD", "SHLVL", "_", "OLDPWD"}
        strange = {name for name in given if not name.startswith(("GANETI_", "GANTRY_"))}
        assert strange <= allowed
    assert _dumps(cluster, 3) == set()


def test_a_version_1_directory_is_read_in_both_versions(cluster: Cluster) -> None:
    cluster.add(WEB)
    cluster.hook("instance-shutdown-pre.d", "10-dump", DUMP)
    cluster.hook("instance-stop-post.d", "10-dump", DUMP)
    cluster.gnt("gnt-instance", "stop", "web1")
    assert _dumps(cluster, 1) == {"instance-shutdown-PRE", "instance-stop-post"}
    assert _dump(cluster, 1, "instance-shutdown-PRE")["GANETI_HOOKS_VERSION"] == "1"
    assert _dump(cluster, 1, "instance-stop-post")["GANETI_HOOKS_VERSION"] == "2"


def test_a_denial_leaves_nothing_and_names_node_script_and_reason(cluster: Cluster) -> None:
    cluster.hook("instance-add-pre.d", "50-policy", "echo not on a Friday\nexit 1\n", (2,))
    cluster.hook("instance-add-post.d", "10-dump", DUMP, ALL)
    said = cluster.refused(
        "gnt-instance", "add", "-t", "file", "-s", "16M", "-o", "noop", "-n", "node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    assert "node2" in said
    assert "instance-add-pre.d/50-policy" in said
    assert "not on a Friday" in said
    assert cluster.instances() == []
    assert not list((cluster.root(2) / "srv/ganeti/file-storage").iterdir())
    assert all(_dumps(cluster, node) == set() for node in ALL)


def test_a_denied_stop_leaves_the_instance_running(cluster: Cluster) -> None:
    cluster.add(WEB)
    cluster.hook("instance-stop-pre.d", "50-policy", "exit 3\n")
    cluster.refused("gnt-instance", "stop", "web1")
    assert cluster.instance(WEB, "status")["status"] == "running"


def test_a_failing_post_script_is_told_and_changes_nothing(cluster: Cluster) -> None:
    cluster.hook("instance-add-post.d", "10-fails", "echo no paper in the printer\nexit 1\n")
    done = cluster.try_gnt(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node1",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    assert done.status == 0
    assert "no paper in the printer" in done.said
    assert cluster.instances() == [WEB]


def test_a_hook_can_ask_the_cluster(cluster: Cluster) -> None:
    answer = Path(cluster.root()) / "answer"
    cluster.hook(
        "instance-add-pre.d",
        "10-asks",
        '"$GANTRY_ROOT/bin/gnt-node" list --no-headers -o name > "$GANTRY_ROOT/answer" 2>&1\n',
    )
    cluster.add(WEB)
    assert answer.read_text().split() == [f"node{n}.gantry.test" for n in ALL]
