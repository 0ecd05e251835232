"""Instances are renamed and installed again, as an operator does it."""

from __future__ import annotations

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
    cluster.os_definition("says", SAYS)
    for number in (1, 2, 3):
        place = cluster.root(number) / "srv/ganeti/os/says"
        (place / "parameters.list").write_text("dhcp whether\n")
        rename = '#!/bin/sh\necho "was $OLD_INSTANCE_NAME"\nsetsid sleep 1000 &\n'
        (place / "rename").write_text(rename)
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
    for phase in ("pre", "post"):
        cluster.hook(f"instance-reinstall-{phase}.d", "10-note", f'echo {phase} >> "{ran}"')
    said = cluster.refused("gnt-instance", "reinstall", "-f", "-O", "nosuch=1", "web1")
    assert not ran.exists()  # verified before any hook
    assert "nosuch" in said
    assert disk.read_bytes().startswith(b"installed with yes")
    said = cluster.refused("gnt-instance", "reinstall", "-f", "-O", "dhcp=broken", "web1")
    assert "gantry:install-failed" in said
    assert ran.read_text() == "pre\n"
    assert cluster.instance(WEB, "tags")["tags"] == ["gantry:install-failed"]
    cluster.gnt("gnt-instance", "reinstall", "-f", "web1")
    assert cluster.instance(WEB, "tags")["tags"] == []


def test_a_script_that_hangs_is_ended_by_a_cancel(cluster: Cluster) -> None:
    cluster.os_definition("hangs", "exit 0\n")
    add(cluster, "hangs")
    pid = cluster.root(2) / "pid"
    # Onto the same definition everywhere, so that it stays alike.
    text = f'[ -z "$INSTANCE_REINSTALL" ] || {{ echo $$ > "{pid}"; sleep 1000; }}\n'
    cluster.os_definition("hangs", text)
    job = cluster.gnt("gnt-instance", "reinstall", "-f", "--submit", "web1").strip()
    process = eventually("it runs", lambda: pid.exists() and pid.read_text().strip())
    cluster.gnt("gnt-job", "cancel", "--kill", job)
    cluster.try_gnt("gnt-job", "wait", job)
    (row,) = cluster.rows("gnt-job", "list", "-o", "id,status", job)
    assert row["status"] == "canceled"
    eventually("its process ends", lambda: not alive(int(process)))
    assert cluster.instance(WEB, "status", "tags") == {"status": "ADMIN_down", "tags": []}
