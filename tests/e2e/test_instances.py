"""What a user does with instances, from the first to the last."""

from tests.support.cluster import Cluster

WEB = "web1.gantry.test"


def test_an_instance_lives_from_add_to_remove(cluster: Cluster) -> None:
    cluster.add(WEB, node=2)
    shown = cluster.instance(WEB, "name", "pnode", "status", "oper_state", "os", "be/memory")
    assert shown == {
        "name": WEB,
        "pnode": "node2.gantry.test",
        "status": "running",
        "oper_state": True,
        "os": "noop",
        "be/memory": 32,
    }
    cluster.gnt("gnt-instance", "stop", "web1")
    assert cluster.instance(WEB, "status", "admin_state") == {
        "status": "ADMIN_down",
        "admin_state": "down",
    }
    cluster.gnt("gnt-instance", "start", "web1")
    cluster.gnt("gnt-instance", "reboot", "web1")
    assert cluster.instance(WEB, "status")["status"] == "running"
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    assert cluster.instances() == []


def test_disks_are_made_on_the_node_and_go_with_the_instance(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "--disk", "0:size=16M", "--disk", "1:size=8M",
        "-o", "noop", "-n", "node3", "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    storage = cluster.root(3) / "srv/ganeti/file-storage"
    sizes = sorted(file.stat().st_size for file in storage.rglob("*") if file.is_file())
    assert sizes == [8 << 20, 16 << 20]
    assert not list((cluster.root(1) / "srv/ganeti/file-storage").iterdir())
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    assert not list(storage.iterdir())


def test_shared_disks_are_seen_by_all_nodes(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "sharedfile", "-s", "16M", "-o", "noop", "-n", "node2",
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip
    seen = cluster.root(1) / "srv/ganeti/shared-file-storage"
    assert [file.stat().st_size for file in seen.rglob("*") if file.is_file()] == [16 << 20]
    cluster.gnt("gnt-instance", "remove", "-f", "web1")
    assert not list(seen.iterdir())


def test_a_change_is_shown_and_lasts_over_a_restart(cluster: Cluster) -> None:
    cluster.add(WEB)
    cluster.gnt("gnt-instance", "modify", "-B", "memory=48M,vcpus=2", "web1")
    cluster.gnt("gnt-instance", "set", "--net", "add:mode=user,ip=10.0.2.15", "web1")
    cluster.gnt("gnt-instance", "reboot", "-t", "full", "web1")
    shown = cluster.instance(WEB, "be/memory", "be/vcpus", "nic.ips")
    assert shown == {"be/memory": 48, "be/vcpus": 2, "nic.ips": ["10.0.2.15"]}
    assert "10.0.2.15" in cluster.gnt("gnt-instance", "info", "web1")


def test_without_a_node_the_one_with_the_most_free_memory_is_taken(cluster: Cluster) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-B", "memory=32M", "--no-nics", WEB
    )
    assert cluster.instance(WEB, "pnode")["pnode"].endswith(".gantry.test")


def test_tags_are_put_on_and_taken_off_every_kind_of_object(cluster: Cluster) -> None:
    cluster.add(WEB)
    objects = (("gnt-cluster",), ("gnt-node", "node2"), ("gnt-instance", "web1"))
    for program, *name in objects:
        cluster.gnt(program, "add-tags", *name, "blue", "env:test")
        assert cluster.gnt(program, "list-tags", *name).split() == ["blue", "env:test"]
        cluster.gnt(program, "remove-tags", *name, "blue", "env:test")
        assert cluster.gnt(program, "list-tags", *name) == ""


def test_the_jobs_of_all_that_are_listed_and_told(cluster: Cluster) -> None:
    cluster.add(WEB)
    rows = cluster.rows("gnt-job", "list", "-o", "id,status,summary")
    last = rows[-1]
    assert last["status"] == "success"
    assert last["summary"] == [f"INSTANCE_CREATE({WEB})"]
    assert WEB in cluster.gnt("gnt-job", "info", str(last["id"]))
    assert cluster.gnt("gnt-job", "watch", str(last["id"])) is not None


def test_a_job_that_runs_can_be_cancelled(cluster: Cluster) -> None:
    job = cluster.gnt("gnt-debug", "delay", "--submit", "60").split()[-1]
    cluster.gnt("gnt-job", "cancel", "--kill", job)
    done = cluster.try_gnt("gnt-job", "wait", job)
    assert done.status == 1
    (row,) = cluster.rows("gnt-job", "list", "-o", "id,status", job)
    assert row["status"] == "canceled"


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    cluster.add(WEB, "--dry-run")
    assert cluster.instances() == []


def test_the_operating_systems_that_come_with_gantry_are_valid_everywhere(
    cluster: Cluster,
) -> None:
    names = cluster.gnt("gnt-os", "list", "--no-headers").split()
    assert {"busybox", "noop"} <= set(names)
    assert "node3.gantry.test" in cluster.gnt("gnt-os", "diagnose")


def test_a_healthy_cluster_verifies(cluster: Cluster) -> None:
    cluster.add(WEB)
    cluster.gnt("gnt-cluster", "verify")


def test_every_node_is_listed_with_its_addresses(cluster: Cluster) -> None:
    rows = cluster.rows("gnt-node", "list", "-o", "name,pip,sip,role,mtotal")
    assert [row["name"] for row in rows] == [f"node{n}.gantry.test" for n in (1, 2, 3)]
    assert len({row["pip"] for row in rows} | {row["sip"] for row in rows}) == 6
    assert all(row["mtotal"] > 0 for row in rows)
