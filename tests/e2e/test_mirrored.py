"""Mirrored disks as an operator uses them; the guests are no real ones."""

from __future__ import annotations

import pytest
from tests.support.cluster import Cluster, eventually

WEB = "web1.gantry.test"
FIELDS = ("pnode", "snodes", "status", "disk.redundancy")

pytestmark = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def shown(cluster: Cluster) -> tuple[str, list[str], str, list[str]]:
    """Numbers of the nodes, the state, and how redundant each disk is."""
    found = cluster.instance(WEB, *FIELDS)
    nodes = [name.partition(".")[0] for name in (found["pnode"], *found["snodes"])]
    return nodes[0], nodes[1:], found["status"], found["disk.redundancy"]


def becomes(cluster: Cluster, *wanted: object) -> None:
    eventually(f"web1 is {wanted}", lambda: shown(cluster) == wanted)


NOTE = """case $GANETI_HOOKS_PATH in
*add) what="add $GANETI_NEW_SECONDARY $GANETI_DISK_NAME" ;;
*remove) what="remove $GANETI_OLD_SECONDARY $GANETI_DISK_NAME $GANETI_DISK_ID" ;;
*) what="$GANETI_MODE $GANETI_OLD_SECONDARY $GANETI_NEW_SECONDARY" ;;
esac
echo "$GANETI_HOOKS_PATH $what" >> "$GANTRY_ROOT/noted"
"""


def noted(cluster: Cluster, node: int) -> list[str]:
    """What scripts on that node were told of replicas."""
    return (cluster.root(node) / "noted").read_text().splitlines()


def files(cluster: Cluster) -> list[int]:
    """The nodes that have files of mirrored disks."""
    return [
        number
        for number in (1, 2, 3)
        if list((cluster.root(number) / "srv/ganeti/file-storage").rglob("*.mirror.*"))
    ]


def sizes(cluster: Cluster) -> dict[int, int]:
    """MiB of the only mirrored disk on each node that has it."""
    return {
        number: file.stat().st_size >> 20
        for number in (1, 2, 3)
        for file in (cluster.root(number) / "srv/ganeti/file-storage").rglob("*.mirror.disk0")
        if not file.name.startswith(".")
    }


def test_redundancy_moves_from_node_to_node_and_the_guest_follows(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "mirror", "-s", "8M", "-o", "noop", "-n", "node1:node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    # What the script wrote is copied by the first start.
    becomes(cluster, "node1", ["node2"], "running", ["in-sync"])
    assert files(cluster) == [1, 2]

    # Without ever being without it: a further replica first, then the old one goes.
    for name in ("mirror-add-pre.d", "mirror-remove-post.d", "mirrors-replace-post.d"):
        cluster.hook(name, "10-note", NOTE, (1, 2, 3))
    cluster.gnt("gnt-instance", "add-mirror", "-b", "sda", "-n", "node3", "web1")
    becomes(cluster, "node1", ["node2", "node3"], "running", ["in-sync"])
    for there, others in (("node3", ["node2", "node1"]), ("node1", ["node2", "node3"])):
        cluster.gnt("gnt-instance", "migrate", "-f", "-n", there, "web1")
        becomes(cluster, there, others, "running", ["in-sync"])
    said = cluster.refused("gnt-instance", "add-mirror", "-b", "0", "-n", "node3", "web1")
    assert "already has a replica of disk 0" in said and "number 2" in said
    cluster.gnt("gnt-instance", "remove-mirror", "-f", "-b", "sda", "-p", "1", "web1")
    becomes(cluster, "node1", ["node3"], "running", ["in-sync"])
    eventually("the file is gone", lambda: files(cluster) == [1, 3])
    assert "id: 2" in cluster.gnt("gnt-instance", "info", "web1")

    # A new node and an old one count as the instance's.
    told = [
        "mirror-add add node3.gantry.test sda",
        "mirror-remove remove node2.gantry.test sda 1",
    ]
    assert noted(cluster, 1) == noted(cluster, 2) == noted(cluster, 3) == told

    cluster.gnt("gnt-instance", "failover", "-f", "web1")
    becomes(cluster, "node3", ["node1"], "running", ["in-sync"])
    cluster.gnt("gnt-instance", "replace-disks", "-n", "node2", "web1")
    becomes(cluster, "node3", ["node2"], "running", ["in-sync"])
    assert "mirrors-replace replace_new_secondary node1.gantry.test node2.gantry.test" in noted(
        cluster, 2
    )
    cluster.gnt("gnt-instance", "migrate", "-f", "web1")
    becomes(cluster, "node2", ["node3"], "running", ["in-sync"])
    cluster.gnt("gnt-node", "migrate", "-f", "node2")
    becomes(cluster, "node3", ["node2"], "running", ["in-sync"])
    cluster.gnt("gnt-instance", "replace-disks", "-s", "web1")
    becomes(cluster, "node3", ["node2"], "running", ["in-sync"])
    cluster.gnt("gnt-instance", "grow-disk", "web1", "0", "4M")
    cluster.gnt("gnt-instance", "stop", "web1")
    cluster.gnt("gnt-instance", "grow-disk", "--absolute", "web1", "sda", "16M")
    assert sizes(cluster) == {2: 16, 3: 16}
    cluster.gnt("gnt-instance", "modify", "-t", "file", "web1")
    eventually("only the file is left", lambda: files(cluster) == [3])
    cluster.gnt("gnt-instance", "modify", "-t", "mirror", "-n", "node2", "web1")
    assert files(cluster) == [2, 3]
    cluster.gnt("gnt-instance", "activate-disks", "--wait-for-sync", "web1")
    assert shown(cluster) == ("node3", ["node2"], "ADMIN_down", ["in-sync"])
    cluster.gnt("gnt-instance", "deactivate-disks", "web1")
    # Somebody took the primary's file away: it is made anew from the other one.
    said = cluster.refused("gnt-instance", "replace-disks", "-a", "web1")
    assert "nothing is to be replaced" in said
    for file in (cluster.root(3) / "srv/ganeti/file-storage").rglob("*.mirror.disk0"):
        file.unlink()
    cluster.gnt("gnt-instance", "replace-disks", "-a", "web1")
    assert shown(cluster) == ("node3", ["node2"], "ADMIN_down", ["in-sync"])
    assert sizes(cluster) == {2: 16, 3: 16}
    cluster.gnt("gnt-instance", "rename", "--no-name-check", "web1", "www.gantry.test")
    cluster.gnt("gnt-instance", "rename", "--no-name-check", "www", WEB)
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node3", ["node2"], "running", ["in-sync"])
    cluster.gnt("gnt-instance", "replace-disks", "-p", "web1")
    assert shown(cluster) == ("node3", ["node2"], "running", ["in-sync"])
    assert "WARNING" not in cluster.gnt("gnt-cluster", "verify")
    assert "of which 1 are mirrored" in cluster.gnt("gnt-cluster", "verify-disks")
    rows = cluster.rows("gnt-node", "list", "-o", "name,sinst_cnt")
    assert [row["sinst_cnt"] for row in rows] == [0, 1, 0]
    assert "still has 1 instance" in cluster.refused("gnt-node", "remove", "node3")
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    eventually("nothing is left", lambda: files(cluster) == [])


def test_a_dead_node_is_left_and_mirrored_to_again_when_it_is_back(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "mirror", "-s", "8M", "--no-install", "-n", "node3:node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node3", ["node2"], "running", ["in-sync"])
    cluster.kill("agent", 3)
    # That it is silent proves nothing.
    eventually(
        "the node is missed",
        lambda: "nothing proves" in cluster.try_gnt("gnt-instance", "failover", "-f", "web1").said,
    )
    cluster.gnt("gnt-node", "modify", "-f", "--offline=yes", "node3")
    cluster.gnt("gnt-instance", "failover", "-f", "web1")
    becomes(cluster, "node2", ["node3"], "running", ["degraded"])
    found = cluster.try_gnt("gnt-cluster", "verify-disks")
    assert found.status == 1 and "add-mirror -b sda" in found.said

    cluster.mend()
    cluster.gnt("gnt-node", "modify", "--offline=no", "node3")
    # Nobody does anything more.
    becomes(cluster, "node2", ["node3"], "running", ["in-sync"])
    assert cluster.try_gnt("gnt-cluster", "verify-disks").status == 0


def test_a_disk_that_all_nodes_have_lost_is_made_anew_or_imported(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "mirror", "-s", "8M", "--no-install", "-n", "node1:node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    [first] = (cluster.root(1) / "srv/ganeti/file-storage").rglob("*.mirror.disk0")
    [second] = (cluster.root(2) / "srv/ganeti/file-storage").rglob("*.mirror.disk0")
    first.unlink()
    said = cluster.refused("gnt-instance", "recreate-disks", "web1")
    assert "still has a replica of it (in-sync)" in said and "failover -n node2" in said
    second.unlink()
    cluster.gnt("gnt-instance", "recreate-disks", "web1")
    assert sizes(cluster) == {1: 8, 2: 8}
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node1", ["node2"], "running", ["in-sync"])

    cluster.gnt("gnt-backup", "export", "-n", "node3", "web1")
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    # As it was exported, on nodes that are chosen; or where it is wanted.
    cluster.gnt("gnt-backup", "import", "-n", "node2:node3", WEB)
    assert shown(cluster) == ("node2", ["node3"], "ADMIN_down", ["syncing"])
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node2", ["node3"], "running", ["in-sync"])
    assert "it runs" in cluster.refused("gnt-instance", "modify", "--disk", "add:size=4M", "web1")
    cluster.gnt("gnt-instance", "stop", "web1")
    cluster.gnt("gnt-instance", "modify", "--disk", "add:size=4M", "web1")
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node2", ["node3"], "running", ["in-sync", "in-sync"])
    cluster.gnt("gnt-instance", "stop", "web1")
    cluster.gnt("gnt-instance", "modify", "--disk", "0:remove", "web1")
    eventually("the first disk is gone", lambda: sizes(cluster) == {})
    cluster.gnt("gnt-instance", "start", "web1")
    becomes(cluster, "node2", ["node3"], "running", ["in-sync"])
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    cluster.gnt("gnt-backup", "remove", WEB)
