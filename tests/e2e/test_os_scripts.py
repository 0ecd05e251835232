"""Instances are renamed and installed again, as an operator does it."""

from __future__ import annotations

from pathlib import Path

from tests.support.cluster import Cluster, alive, eventually

WEB, WWW = "web1.gantry.test", "www.gantry.test"
SAYS = """
echo "$OS_NAME $OS_VARIANT reinstall=$INSTANCE_REINSTALL dhcp=$OSP_DHCP"
printf 'installed with %s' "$OSP_DHCP" | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null
[ "$OSP_DHCP" != broken ]
"""


def add(cluster: Cluster, os: str) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "16M", "-o", os, "-n", "node2",
        "-B", "memory=32M", "--no-nics", "--no-start", WEB,
    )  # fmt: skip


def definition(cluster: Cluster) -> None:
    ran = cluster.root(1) / "ran"
    ran.unlink(missing_ok=True)
    cluster.os_definition("says", f'echo create >> "{ran}"\n{SAYS}')
    for number in (1, 2, 3):
        place = cluster.root(number) / "srv/ganeti/os/says"
        (place / "parameters.list").write_text("dhcp whether\n")
        rename = '#!/bin/sh\necho "was $OLD_INSTANCE_NAME"\nsetsid sleep 1000 &\n'
        (place / "rename").write_text(rename)
        (place / "verify").write_text(f'#!/bin/sh\necho verify >> "{ran}"\n')
    cluster.try_gnt("gnt-os", "diagnose")


def test_a_renamed_instance_takes_its_files_and_lists_along(cluster: Cluster) -> None:
    definition(cluster)
    add(cluster, "says")
    cluster.hook(
        "instance-rename-post.d",
        "10-look",
        'echo "$GANETI_INSTANCE_NEW_NAME" > "$GANTRY_ROOT/renamed"',
    )
    cluster.gnt("gnt-instance", "start", "web1")
    assert "gnt-instance shutdown" in cluster.refused("gnt-instance", "rename", "web1", WWW)
    cluster.gnt("gnt-instance", "stop", "web1")
    said = cluster.try_gnt("gnt-instance", "rename", "web1", WWW)
    assert said.status == 0
    assert f"was {WEB}" in said.said
    assert "behind: cleared away" in said.said
    assert f"Instance 'web1' renamed to '{WWW}'" in said.stdout
    assert cluster.instances() == [WWW]
    storage = cluster.root(2) / "srv/ganeti/file-storage"
    assert [each.name for each in storage.iterdir()] == [WWW]
    assert (cluster.root(1) / "renamed").read_text() == f"{WWW}\n"
    log = list((cluster.root(2) / "var/log/ganeti/os").glob(f"rename-says-{WEB}-{WWW}-*.log"))
    assert [each.read_text() for each in log] == [f"was {WEB}\n"]
    cluster.gnt("gnt-instance", "start", "www")
    assert cluster.instance(WWW, "status")["status"] == "running"
    # The old name is free.
    add(cluster, "noop")
    assert cluster.instances() == [WEB, WWW]


def test_an_instance_is_installed_again_with_another_os(cluster: Cluster) -> None:
    definition(cluster)
    add(cluster, "noop")
    said = cluster.gnt("gnt-instance", "reinstall", "-f", "-o", "says", "-O", "dhcp=yes", "web1")
    assert "says  reinstall=1 dhcp=yes" in said
    assert "used this once, not kept" in said
    assert cluster.instance(WEB, "os")["os"] == "says"
    [disk] = (cluster.root(2) / "srv/ganeti/file-storage" / WEB).iterdir()
    assert disk.read_bytes().startswith(b"installed with yes")
    ran = cluster.root(1) / "ran"
    assert ran.read_text().split() == ["verify", "create"]
    ran.unlink()
    for phase in ("pre", "post"):
        cluster.hook(f"instance-reinstall-{phase}.d", "10-note", f'echo {phase} >> "{ran}"')
    said = cluster.refused("gnt-instance", "reinstall", "-f", "-O", "nosuch=1", "web1")
    assert not ran.exists()  # looked at before any script
    assert "nosuch" in said
    assert disk.read_bytes().startswith(b"installed with yes")
    said = cluster.refused("gnt-instance", "reinstall", "-f", "-O", "dhcp=broken", "web1")
    assert "gantry:install-failed" in said
    assert ran.read_text().split() == ["verify", "pre", "create"]
    ran.unlink()
    assert cluster.instance(WEB, "tags")["tags"] == ["gantry:install-failed"]
    cluster.gnt("gnt-instance", "reinstall", "-f", "web1")
    assert ran.read_text().split() == ["verify", "pre", "create", "post"]
    assert cluster.instance(WEB, "tags")["tags"] == []


def hanging(cluster: Cluster, script: str) -> Path:
    """web1 whose definition's script hangs on node 2; where that writes its process's number."""
    cluster.os_definition("hangs", "exit 0\n")
    add(cluster, "hangs")
    pid = cluster.root(2) / "pid"
    pid.unlink(missing_ok=True)
    text = f'#!/bin/sh\necho $$ > "{pid}.new" && mv "{pid}.new" "{pid}"\nsleep 1000\n'
    for number in (1, 2, 3):
        (cluster.root(number) / "srv/ganeti/os/hangs" / script).write_text(text)
    cluster.try_gnt("gnt-os", "diagnose")
    return pid


def begun(pid: Path) -> int:
    return int(eventually("the script runs", lambda: pid.exists() and pid.read_text(), 60))


def test_a_script_that_hangs_is_ended_by_a_cancel(cluster: Cluster) -> None:
    pid = hanging(cluster, "create")
    job = cluster.gnt("gnt-instance", "reinstall", "-f", "--submit", "web1").strip()
    process = begun(pid)
    cluster.gnt("gnt-job", "cancel", "--kill", job)
    cluster.try_gnt("gnt-job", "wait", job)
    (row,) = cluster.rows("gnt-job", "list", "-o", "id,status", job)
    assert row["status"] == "canceled"
    eventually("its process ends", lambda: not alive(process))
    found = cluster.instance(WEB, "status", "tags")
    assert found == {"status": "ADMIN_down", "tags": ["gantry:install-failed"]}


def test_a_reinstallation_whose_agent_dies_marks_the_instance(cluster: Cluster) -> None:
    pid = hanging(cluster, "create")
    job = cluster.gnt("gnt-instance", "reinstall", "-f", "--submit", "web1").strip()
    process = begun(pid)
    cluster.kill("agent", 2)
    cluster.local("up")
    assert cluster.try_gnt("gnt-job", "wait", job).status == 1
    assert not alive(process)
    found = cluster.instance(WEB, "status", "tags")
    assert found == {"status": "ADMIN_down", "tags": ["gantry:install-failed"]}


def test_a_rename_whose_agent_dies_at_the_script_is_done_and_warns(cluster: Cluster) -> None:
    pid = hanging(cluster, "rename")
    job = cluster.gnt("gnt-instance", "rename", "--submit", "web1", WWW).strip()
    process = begun(pid)
    cluster.kill("agent", 2)
    cluster.local("up")
    said = cluster.try_gnt("gnt-job", "watch", job)
    assert said.status == 0
    assert "the rename script failed" in said.said
    assert not alive(process)
    assert cluster.instances() == [WWW]
