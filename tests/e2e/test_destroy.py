"""The end of a cluster, and a new one in its place."""

from __future__ import annotations

import pytest
from tests.support.cluster import Cluster, alive, eventually, local_cluster


@pytest.mark.parametrize(
    ("store", "how"), [("sqlite", []), ("sqlite", ["--submit"]), ("etcd", [])], indirect=["store"]
)
def test_a_destroyed_cluster_has_no_master_and_makes_room_for_a_new_one(
    store: str, how: list[str]
) -> None:
    options = ("--no-kernel", "--hypervisors", "fake", "--store", store)
    with local_cluster("--nodes", "1", *options) as cluster:
        master = cluster.pid("master")
        assert master is not None
        assert "--yes-do-it" in cluster.refused("gnt-cluster", "destroy")
        assert "nothing was changed" in cluster.gnt("gnt-cluster", "destroy", "--dry-run")
        assert cluster.gnt("gnt-cluster", "getmaster") and cluster.pid("master") == master
        cluster.gnt("gnt-cluster", "destroy", "--yes-do-it", *how)
        eventually("the master ends", lambda: not alive(master))
        place = "etc/gantry/store.json" if store == "etcd" else "var/lib/gantry/state.db"
        assert len(list(cluster.root().glob(f"{place}.destroyed-*"))) == 1
        cluster.gnt(
            "gnt-cluster", "init", "--node-name", "node1.gantry.test", "--primary-ip",
            "127.0.0.1", "--enabled-hypervisors", "fake", "other.gantry.test",
        )  # fmt: skip


def test_a_cluster_with_instances_or_nodes_is_not_destroyed(cluster: Cluster) -> None:
    assert "node" in cluster.refused("gnt-cluster", "destroy", "--yes-do-it")
    cluster.add("still.gantry.test")
    assert "instance" in cluster.refused("gnt-cluster", "destroy", "--yes-do-it")
