"""Exports and imports by real programs, in the order in which a site would do it."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster
from tests.support.ganeti import Ganeti
from tests.support.ganeti import ganeti as ganeti

MIB = 1024 * 1024
EXPORT = "var/lib/ganeti/export"
SCRIPTS = {
    "create": 'head -c 3000000 /dev/urandom | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null',
    "export": ('stat -c %s "$EXPORT_DEVICE" > /proc/self/fd/$EXP_SIZE_FD\ncat "$EXPORT_DEVICE"'),
    "import": 'dd of="$IMPORT_DEVICE" conv=notrunc bs=1M 2>/dev/null',
    "rename": 'echo "$OLD_INSTANCE_NAME is $INSTANCE_NAME"',
}


@pytest.fixture
def copying(cluster: Cluster) -> Iterator[Cluster]:
    """With an OS definition ``copy``, whose scripts do what they should."""
    cluster.os_definition("copy", SCRIPTS["create"])
    for name, text in SCRIPTS.items():
        script(cluster, name, text)
    yield cluster
    for number in (1, 2, 3):
        shutil.rmtree(cluster.root(number) / EXPORT, ignore_errors=True)


def script(cluster: Cluster, name: str, text: str) -> None:
    """Write one of its scripts on all nodes, which look again."""
    for number in (1, 2, 3):
        path = cluster.root(number) / "srv/ganeti/os/copy" / name
        path.write_text("#!/bin/sh -e\n" + text + "\n")
        path.chmod(0o755)
    cluster.gnt("gnt-os", "diagnose")


def add(cluster: Cluster, name: str, *arguments: str) -> None:
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-n", "node1", "-B", "memory=32M", "--no-start",
        *arguments, name,
    )  # fmt: skip


def disk(cluster: Cluster, number: int, name: str, index: int = 0) -> Path:
    place = cluster.root(number) / "srv/ganeti/file-storage" / name
    [found] = place.glob(f"*.disk{index}")
    return found


def _size(path: Path) -> int:
    return path.stat().st_size


def exports(cluster: Cluster) -> list[tuple[str, str]]:
    rows = cluster.rows("gnt-backup", "list")
    return [(row["node"].partition(".")[0], row["export"]) for row in rows]


def nothing_left(cluster: Cluster) -> None:
    """No file of a transfer, no half export, on any node."""
    for number in (1, 2, 3):
        root = cluster.root(number)
        assert list(root.glob("run/gantry/transfers/*")) == []
        assert list(root.glob(f"{EXPORT}/.*")) == []


def test_a_guest_goes_and_comes_back_under_another_name(copying: Cluster) -> None:
    add(copying, "web1.gantry.test", "-s", "16M", "-o", "copy", "--tags", "env:prod")
    before = disk(copying, 1, "web1.gantry.test").read_bytes()
    said = copying.gnt("gnt-backup", "export", "-n", "node2", "--remove-instance", "web1")
    assert "disk 0: 16 MiB" in said
    assert copying.instances() == []
    assert not (copying.root() / "srv/ganeti/file-storage/web1.gantry.test").exists()
    place = copying.root(2) / EXPORT / "web1.gantry.test"
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    config = configparser.ConfigParser()
    config.read(place / "config.ini")
    dump = place / config["instance"]["disk0_dump"]
    assert dump.read_bytes() == before
    # Blocks of zeros are holes.
    assert dump.stat().st_blocks * 512 < 4 * MIB
    [row] = copying.rows("gnt-backup", "list", "-o", "node,export,os,disks,size,problem")
    assert (row["os"], row["disks"], row["problem"]) == ("copy", 1, "")

    said = copying.gnt(
        "gnt-backup", "import", "-n", "node3", "--src-node", "node2", "--src-dir",
        "web1.gantry.test", "--compress", "zstd", "-t", "sharedfile", "-s", "20M",
        "web2.gantry.test",
    )  # fmt: skip
    assert "web1.gantry.test is web2.gantry.test" in said
    found = copying.instance("web2", "pnode", "status", "os", "disk_template", "tags")
    assert (found["os"], found["disk_template"], found["tags"]) == (
        "copy",
        "sharedfile",
        ["env:prod"],
    )
    [imported] = copying.root(3).glob("srv/ganeti/shared-file-storage/web2.gantry.test/*")
    assert imported.stat().st_size == 20 * MIB
    with imported.open("rb") as file:
        assert file.read(16 * MIB) == before
    assert exports(copying) == [("node2", "web1.gantry.test")]
    copying.gnt("gnt-backup", "remove", "web1.gantry.test")
    assert exports(copying) == []
    assert "no node has an export" in copying.refused("gnt-backup", "remove", "web1.gantry.test")
    nothing_left(copying)


def test_without_an_os_the_content_goes_as_it_is_and_holes_stay(copying: Cluster) -> None:
    add(
        copying, "raw.gantry.test", "--disk", "0:size=256M", "--disk", "1:size=8M,format=qcow2",
        "--no-install",
    )  # fmt: skip
    with disk(copying, 1, "raw.gantry.test").open("r+b") as file:
        file.seek(100 * MIB)
        file.write(b"data" * MIB)
    copying.gnt("gnt-backup", "export", "-n", "node2", "raw")
    [row] = copying.rows("gnt-backup", "list", "-o", "size")
    assert row["size"] <= 5
    said = copying.gnt("gnt-backup", "verify", "-n", "node2", "raw")
    assert "can be read as a whole (2 dumps, 0 with checksums)" in said
    dump = max((copying.root(2) / EXPORT / "raw.gantry.test").iterdir(), key=_size)
    os.truncate(dump, 255 * MIB)
    said = copying.refused("gnt-backup", "verify", "-n", "node2", "raw")
    assert f"is damaged: {dump.name} has {255 * MIB} bytes, and disk 0 256 MiB" in said
    copying.gnt("gnt-backup", "export", "-n", "node2", "--checksums", "raw")
    assert "(2 dumps)" in copying.gnt("gnt-backup", "verify", "-n", "node2", "raw")
    dump = max((copying.root(2) / EXPORT / "raw.gantry.test").iterdir(), key=_size)
    with dump.open("r+b") as file:
        file.seek(101 * MIB)
        file.write(b"D")
    said = copying.refused("gnt-backup", "verify", "-n", "node2", "raw")
    assert f"is damaged: {dump.name} is not what was written" in said
    # A newer one takes its place, also when it is on another node.
    copying.gnt(
        "gnt-backup", "export", "-n", "node3", "--transport-compression", "gzip-fast", "raw"
    )
    assert exports(copying) == [("node3", "raw.gantry.test")]
    copying.gnt(
        "gnt-backup", "import", "-n", "node2", "--src-dir", "raw.gantry.test", "raw2.gantry.test"
    )
    before, after = (
        disk(copying, *one) for one in ((1, "raw.gantry.test"), (2, "raw2.gantry.test"))
    )
    assert before.read_bytes() == after.read_bytes()
    assert after.stat().st_blocks * 512 <= 5 * MIB
    assert copying.instance("raw2", "disk.sizes")["disk.sizes"] == [256, 8]
    refused = copying.refused(
        "gnt-backup", "import", "-n", "node2", "--src-dir", "raw.gantry.test",
        "--disk", "0:size=128M", "--disk", "1:size=8M", "raw3.gantry.test",
    )  # fmt: skip
    assert "disk 0 has 256 MiB in the export" in refused
    nothing_left(copying)


def test_how_far_it_is_is_seen_while_it_lasts(copying: Cluster, tmp_path: Path) -> None:
    go = tmp_path / "go"
    waits = f'while [ ! -e "{go}" ]; do sleep 0.05; done'
    script(copying, "create", 'head -c 64M /dev/urandom | dd of="$DISK_0_PATH" conv=notrunc')
    sends = 'head -c 16M "$EXPORT_DEVICE"\n{waits}\ntail -c +16777217 "$EXPORT_DEVICE"'
    script(
        copying,
        "export",
        "echo 67108864 > /proc/self/fd/$EXP_SIZE_FD\n" + sends.format(waits=waits),
    )
    script(copying, "import", f"{waits}\n{SCRIPTS['import']}")
    add(copying, "web1.gantry.test", "-s", "64M", "-o", "copy")
    done = r"\| (\d+) of 64 MiB \((\d+) %\), \d+\.\d MiB/s, \d+ s left"
    for arguments in (
        ("export", "-n", "node2", "web1"),
        ("import", "-n", "node3", "--src-dir", "web1.gantry.test", "web2.gantry.test"),
    ):
        go.unlink(missing_ok=True)
        job = copying.gnt("gnt-backup", arguments[0], "--submit", *arguments[1:]).split()[-1]
        with subprocess.Popen(
            [copying.root() / "bin/gnt-job", "watch", job],
            env=copying.environment(1),
            stdout=subprocess.PIPE,
            text=True,
        ) as watching:
            assert watching.stdout is not None
            seen = next(found for line in watching.stdout if (found := re.search(done, line)))
            assert 0 < int(seen[1]) < 64
            assert int(seen[2]) == int(seen[1]) * 100 // 64
            assert watching.poll() is None
            go.touch()
            watching.stdout.read()
        assert watching.returncode == 0


def test_an_export_of_ganeti_s_is_imported(copying: Cluster, ganeti: Ganeti) -> None:
    """Its description is written by Ganeti's own code."""
    nic = {"mac": "aa:00:00:0f:42:5b", "ip": None, "name": None, "network": None}
    place = ganeti.exports(
        copying.root(2) / EXPORT,
        name="old.example.com",
        primary_node="node1.example.com",
        os="copy",
        hypervisor="fake",
        hvparams={"migration_mode": "live", "kernel_args": "ro", "vnc_magic": True},
        beparams={"maxmem": 96, "minmem": 96, "vcpus": 2, "spindle_use": 1, "auto_balance": True},
        osparams={},
        osparams_private={},
        tags=["env:prod"],
        nics=[{**nic, "nicparams": {"mode": "bridged", "link": "br0", "vlan": ""}}],
        disks=[{"uuid": "0fe51ee8", "iv_name": "disk/0", "size": 8, "name": None}],
    )
    (place / "0fe51ee8").write_bytes(b"content" + bytes(8 * MIB - 7))
    said = copying.gnt("gnt-backup", "import", "-n", "node1", "old.example.com")
    assert "kernel_args, vnc_magic" in said
    found = copying.instance("old.example.com", "be/maxmem", "be/vcpus", "nic.macs", "os", "tags")
    assert found["tags"] == ["env:prod"]
    assert (found["be/maxmem"], found["be/vcpus"], found["os"]) == (96, 2, "copy")
    assert found["nic.macs"] == ["aa:00:00:0f:42:5b"]
    assert disk(copying, 1, "old.example.com").read_bytes().startswith(b"content")


def test_what_breaks_leaves_nothing_and_says_why(copying: Cluster) -> None:
    add(copying, "web1.gantry.test", "-s", "8M", "-o", "copy")
    copying.gnt("gnt-backup", "export", "-n", "node2", "web1")
    broken = "head -c 2000000 /dev/zero\necho it is broken >&2\nexit 4"
    script(copying, "export", broken)
    said = copying.refused("gnt-backup", "export", "-n", "node2", "web1")
    assert "it is broken" in said
    assert "exit status 4" in said
    # The one from before is still there, and whole.
    assert exports(copying) == [("node2", "web1.gantry.test")]
    nothing_left(copying)
    script(copying, "import", "head -c 100 >/dev/null\necho no import today >&2\nexit 5")
    said = copying.refused(
        "gnt-backup", "import", "-n", "node3", "--src-dir", "web1.gantry.test", "web2.gantry.test"
    )
    assert "no import today" in said
    assert copying.instances() == ["web1.gantry.test"]
    assert not (copying.root(3) / "srv/ganeti/file-storage/web2.gantry.test").exists()
    nothing_left(copying)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("export", "-n", "node9", "web1"), "node9"),
        (("export", "-n", "node2", "--transport-compression", "xz", "web1"), "no compression"),
        (("import", "-n", "node1", "--src-dir", "/etc", "new.example.com"), "/etc"),
        (("import", "-n", "node1", "--src-dir", "../x", "new.example.com"), "cannot be"),
        (("import", "-n", "node1", "new.example.com"), "no node has an export"),
        (("import", "-I", "hail", "new.example.com"), "no instance allocator 'hail'"),
        (("import", "-g", "racks", "new.example.com"), "racks"),
        (("import", "-n", "node1", "-g", "default", "new.example.com"), "no node has an export"),
        (("list", "-n", "node9"), "node9"),
        (("list", "-o", "colour"), "no field"),
    ],
)
def test_mistakes_are_refused(cluster: Cluster, arguments: tuple[str, ...], why: str) -> None:
    if not cluster.instances():
        cluster.add("web1.gantry.test", "--no-start")
    assert why in cluster.refused("gnt-backup", *arguments)
