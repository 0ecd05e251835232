"""Instances are brought from node to node by an operator, with agents of their own."""

import time

from tests.support.cluster import Cluster, eventually


def homes(cluster: Cluster) -> dict[str, str]:
    """Where each instance is, and how it is there."""
    rows = cluster.rows("gnt-instance", "list", "-o", "name,pnode,status")
    return {
        row["name"].partition(".")[0]: f"{row['pnode'].partition('.')[0]} {row['status']}"
        for row in rows
    }


def disks(cluster: Cluster, node: int) -> list[str]:
    """Names of the instances whose local disks are there."""
    return sorted(
        path.parent.name for path in cluster.root(node).glob("srv/ganeti/file-storage/*/*.disk0")
    )


def test_an_instance_is_migrated_failed_over_and_moved(cluster: Cluster) -> None:
    cluster.add("web1.gantry.test")
    cluster.gnt("gnt-instance", "migrate", "-f", "-n", "node2", "web1")
    assert homes(cluster) == {"web1": "node2 running"}
    cluster.gnt("gnt-instance", "failover", "-f", "-n", "node3", "web1")
    assert homes(cluster) == {"web1": "node3 running"}
    cluster.gnt("gnt-instance", "stop", "web1")
    assert "is not running" in cluster.refused("gnt-instance", "migrate", "-f", "web1")
    cluster.gnt("gnt-instance", "migrate", "-f", "--allow-failover", "-n", "node1", "web1")
    assert homes(cluster) == {"web1": "node1 ADMIN_down"}
    said = cluster.gnt("gnt-instance", "failover", "--cleanup", "web1")
    assert "is right: node node1.gantry.test" in said
    assert "declined" not in said


def test_local_disks_go_along_running_or_not(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "4M", "-o", "noop", "-n", "node1",
        "-B", "memory=32M", "--no-nics", "web1.gantry.test",
    )  # fmt: skip
    refused = cluster.refused("gnt-instance", "failover", "-f", "-n", "node2", "web1")
    assert "gnt-instance move" in refused
    cluster.gnt("gnt-instance", "move", "-f", "-n", "node2", "web1")
    assert homes(cluster) == {"web1": "node2 running"}
    assert (disks(cluster, 1), disks(cluster, 2)) == ([], ["web1.gantry.test"])
    cluster.gnt("gnt-instance", "stop", "web1")
    cluster.gnt("gnt-instance", "move", "-f", "-n", "node3", "--compress=gzip", "web1")
    assert homes(cluster) == {"web1": "node3 ADMIN_down"}
    assert (disks(cluster, 2), disks(cluster, 3)) == ([], ["web1.gantry.test"])


def test_a_node_is_emptied_by_one_command(cluster: Cluster) -> None:
    for number in range(1, 5):
        cluster.add(f"web{number}.gantry.test")
    cluster.gnt("gnt-instance", "stop", "web4")
    said = cluster.gnt("gnt-node", "evacuate", "-f", "-p", "node1")
    assert "4 of 4 instances were brought elsewhere" in said
    now = homes(cluster)
    assert {place.split()[0] for place in now.values()} <= {"node2", "node3"}
    assert now["web4"].endswith("ADMIN_down")
    assert "has no instances" in cluster.gnt("gnt-node", "evacuate", "-f", "node1")
    for node in ("node2", "node3"):
        cluster.gnt("gnt-node", "migrate", "-f", "-n", "node1", node)
    assert {place.split()[0] for place in homes(cluster).values()} == {"node1"}
    cluster.gnt("gnt-node", "failover", "-f", "node1")
    assert "node1" not in {place.split()[0] for place in homes(cluster).values()}


def test_what_cannot_go_is_said_and_makes_the_command_fail(cluster: Cluster) -> None:
    cluster.add("web1.gantry.test", "-B", "memory=32M")
    for node in ("node2", "node3"):
        cluster.gnt("gnt-node", "modify", "--drained=yes", node)
    try:
        done = cluster.try_gnt("gnt-node", "evacuate", "-f", "node1")
    finally:
        for node in ("node2", "node3"):
            cluster.gnt("gnt-node", "modify", "--drained=no", node)
    assert done.status == 1
    assert "no node takes new instances" in done.said
    assert homes(cluster) == {"web1": "node1 running"}


def test_from_a_dead_node_only_once_it_is_said_to_be_off(cluster: Cluster) -> None:
    cluster.add("web1.gantry.test", node=3)
    cluster.kill("agent", 3)
    eventually("the loss is noticed", lambda: homes(cluster) == {"web1": "node3 ERROR_nodedown"})
    said = cluster.refused("gnt-instance", "failover", "-f", "web1")
    assert "nothing proves that its guest is dead on node node3.gantry.test" in said
    assert "gnt-node modify --offline=yes node3.gantry.test" in said
    cluster.gnt("gnt-node", "modify", "-f", "--offline=yes", "node3")
    try:
        began = time.monotonic()
        cluster.gnt("gnt-instance", "failover", "-f", "-n", "node2", "web1")
        assert time.monotonic() - began < 30
        assert homes(cluster) == {"web1": "node2 running"}
        # It was not off after all: what it has of the guest it is told to end.
        kept = cluster.root(3) / "var/lib/gantry/fake-guests"
        assert list(kept.iterdir())
    finally:
        cluster.local("up")
        cluster.gnt("gnt-node", "modify", "--offline=no", "node3")
    eventually("the old node has ended and forgotten it", lambda: not list(kept.iterdir()))
    assert homes(cluster) == {"web1": "node2 running"}
