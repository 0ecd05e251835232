"""Incremental exports of a real guest, as a site would make and use them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.hypervisors import boot_sector
from tests.support.cluster import Cluster, eventually, local_cluster

from gantry.agent import changes

pytestmark = pytest.mark.qemu
WEB = "web1.gantry.test"
EXPORT = "var/lib/ganeti/export"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    with local_cluster("--nodes", "2", "--hypervisors", "kvm,fake", "--no-kernel") as cluster:
        yield cluster


class Guest:
    """One that writes what is typed on its console into its disk."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.disk = only(cluster.root() / "srv/ganeti/file-storage" / WEB, "*.disk0")
        self.log = cluster.root() / f"var/log/gantry/console/{WEB}.log"
        self.points: dict[int, bytes] = {}

    def type(self, text: str) -> None:
        argv = [str(self.cluster.root() / "bin/gnt-instance"), "console", WEB]
        before = self.log.read_text().count(text)
        with subprocess.Popen(
            argv, env=self.cluster.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as console:
            assert console.stdin is not None
            console.stdin.write(text.encode())
            console.stdin.flush()
            # It echoes what is on the disk.
            eventually(f"{text} is written", lambda: self.log.read_text().count(text) > before)
            console.terminate()

    def export(self, *arguments: str) -> str:
        said = self.cluster.gnt(
            "gnt-backup", "export", "-n", "node2", "--incremental", *arguments, WEB
        )
        self.points[max(self.points, default=0) + 1] = self.disk.read_bytes()
        return said

    def listed(self) -> list[tuple[int, str]]:
        rows = self.cluster.rows("gnt-backup", "list", "--points", "-o", "point,kind,problem")
        assert not any(row["problem"] for row in rows)
        return [(row["point"], row["kind"]) for row in rows]

    def check(self, point: int | None) -> None:
        """What is imported is what it was then."""
        which = [] if point is None else ["--point", str(point)]
        said = self.cluster.gnt(
            "gnt-backup", "import", "-n", "node1", "--src-node", "node2", "--src-dir", WEB,
            "-t", "file", *which, "copy.gantry.test",
        )  # fmt: skip
        assert "WARNING" not in said
        place = self.cluster.root() / "srv/ganeti/file-storage/copy.gantry.test"
        wanted = self.points[max(self.points) if point is None else point]
        assert only(place, "*.disk0").read_bytes() == wanted
        self.cluster.gnt("gnt-instance", "remove", "-f", "copy.gantry.test")


def only(place: Path, pattern: str) -> Path:
    [found] = place.glob(pattern)
    return found


@pytest.fixture
def guest(real: Cluster) -> Iterator[Guest]:
    real.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "4M", "--no-install", "--no-start",
        "-n", "node1", "-H", "kvm", "-B", "memory=32M", WEB,
    )  # fmt: skip
    made = Guest(real)
    with made.disk.open("r+b") as file:
        file.write(boot_sector.writer())
        file.seek(2 * MIB)
        file.write(os.urandom(MIB))
    real.gnt("gnt-instance", "start", WEB)
    yield made
    real.remove_all()
    for number in (1, 2):
        shutil.rmtree(real.root(number) / EXPORT, ignore_errors=True)


def test_points_of_a_guest_that_goes_on(guest: Guest, real: Cluster) -> None:
    assert "point of a chain: there is no export of it there yet" in guest.export()
    guest.type("C")
    assert "what has changed since point 1" in guest.export()
    # What has changed is known as long as the guest's process is there, whoever dies beside it.
    real.kill("agent")
    real.kill("master")
    real.local("up")
    real.whole()
    guest.type("DE")
    assert "what has changed since point 2" in guest.export("--transport-compression", "zstd")
    assert guest.points[3][3 * 512 : 3 * 512 + 1] == b"D"
    assert guest.listed() == [(1, "full"), (2, "incremental"), (3, "incremental")]
    for point in (1, 2, 3, None):
        guest.check(point)
    place = real.root(2) / EXPORT / WEB
    assert only(place, "*.2").stat().st_size < MIB
    assert not list(guest.disk.parent.glob(".*"))
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    assert "(3 dumps)" in real.gnt("gnt-backup", "verify", "-n", "node2", WEB)
    # It crashes, and is started again: nobody knows what has changed meanwhile.
    guest.type("F")
    before = real.instance(WEB, "status")["status"]
    os.kill(qemu(real), signal.SIGKILL)
    eventually("it is up again", lambda: _again(real, before))
    assert "was started anew since the last one" in guest.export()
    guest.type("G")
    assert "what has changed since point 4" in guest.export()
    # Points go, others stay what they were.
    for point in (1, 3):
        real.gnt("gnt-backup", "remove", "--point", str(point), WEB)
        del guest.points[point]
    kinds = ["full", "full", "incremental"]
    assert guest.listed() == list(zip((2, 4, 5), kinds, strict=True))
    for point in guest.points:
        guest.check(point)
    # On its way down nothing is counted.
    real.gnt("gnt-instance", "stop", "--timeout", "0", WEB)
    eventually("the disk's last change is a while ago", lambda: settled(guest.disk))
    assert "what changed is counted only while it does" in guest.export()
    guest.check(None)
    assert guest.listed()[-1] == (6, "full")
    # A disk that nobody writes to is not sent again.
    assert "point 7 has nothing new" in guest.export()
    guest.check(None)
    assert guest.listed()[-1] == (7, "incremental")
    with guest.disk.open("r+b") as file:
        file.write(b"another boot sector")
    assert "its disks have been written to since the last one" in guest.export()
    guest.check(None)


def settled(disk: Path) -> bool:
    return changes.stamp(disk) != ""


def _again(cluster: Cluster, before: str) -> bool:
    jobs = cluster.rows("gnt-job", "list", "-o", "summary,status")
    begun = [job for job in jobs if "STARTUP" in str(job["summary"])]
    done = all(job["status"] == "success" for job in begun)
    return len(begun) > 1 and done and cluster.instance(WEB, "status")["status"] == before


def qemu(cluster: Cluster) -> int:
    """The guest's process."""
    [uuid] = (cluster.root() / "var/lib/gantry/guests").iterdir()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and uuid.name.encode() in _command(entry):
            return int(entry.name)
    raise AssertionError("no QEMU runs")


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_chains_are_not_lost_by_mistake(guest: Guest, real: Cluster) -> None:
    guest.export()
    guest.export()
    said = real.refused("gnt-backup", "export", "-n", "node1", "--incremental", WEB)
    assert "node2.gantry.test has a chain of 2 exports" in said
    said = real.refused("gnt-backup", "remove", "--point", "9", WEB)
    assert "no node has a point 9 of an export" in said
    said = real.refused("gnt-backup", "import", "-n", "node1", "--src-node", "node2",
                        "--src-dir", WEB, "--point", "9", "copy.gantry.test")  # fmt: skip
    assert "has no point 9" in said
    said = real.refused("gnt-backup", "export", "-n", "node2", "--incremental",
                        "--remove-instance", WEB)  # fmt: skip
    assert "cannot be removed without a shutdown" in said
    # A file of the last point is gone: nothing is built on it.
    place = real.root(2) / EXPORT / WEB
    only(place, "*.2").unlink()
    said = real.refused("gnt-backup", "verify", "-n", "node2", WEB)
    assert "point 2: the export of web1.gantry.test has no file" in said
    assert "is missing in the last one" in guest.export()
    said = real.refused("gnt-backup", "import", "-n", "node1", "--src-node", "node2",
                        "--src-dir", WEB, "--point", "2", "copy.gantry.test")  # fmt: skip
    assert "has no file" in said
    guest.check(3)
    # What is not incremental replaces it neither there nor by the way.
    said = real.refused("gnt-backup", "export", "-n", "node2", "--noshutdown", WEB)
    assert "has a chain of 3 exports of web1.gantry.test, which this one would replace" in said
    real.gnt("gnt-backup", "export", "-n", "node1", "--noshutdown", WEB)
    assert guest.listed() == [(1, "full"), (1, "full"), (2, "incremental"), (3, "full")]
    real.gnt("gnt-backup", "remove", WEB)
    assert guest.listed() == []
    real.gnt("gnt-backup", "export", "-n", "node2", "--noshutdown", WEB)
    assert "was made without --incremental" in guest.export()
    said = real.refused("gnt-backup", "remove", "--point", "1", WEB)
    assert "is all that the export" in said


def test_a_chain_is_that_of_an_instance_and_not_of_a_name(real: Cluster) -> None:
    add = ["gnt-instance", "add", "-t", "file", "-s", "1M", "--no-install", "--no-start", "-n",
           "node1", "-H", "fake", WEB]  # fmt: skip
    export = ["gnt-backup", "export", "-n", "node2", "--incremental", WEB]
    try:
        real.gnt(*add)
        for _ in range(2):
            real.gnt(*export)
        real.gnt("gnt-backup", "remove", "--point", "2", WEB)
        assert "point 3 is a full export" in real.gnt(*export)
        real.gnt(
            "gnt-instance", "rename", "--no-ip-check", "--no-name-check", WEB, "old.gantry.test"
        )
        real.gnt(*add)
        said = real.refused(*export)
        assert "the chain of 2 exports that is there is of another instance" in said
        whole = real.refused("gnt-backup", "export", "-n", "node2", WEB)
        assert f"remove it first: gnt-backup remove {WEB}" in whole
        assert "add to it with --incremental" not in whole
        place = real.root(2) / EXPORT / WEB
        assert f"mv /{EXPORT}/{WEB} /{EXPORT}/old-{WEB}" in said
        place.rename(place.with_name(f"old-{WEB}"))
        assert "the first point of a chain" in real.gnt(*export)
        exports = real.rows("gnt-backup", "list", "-o", "export,points,problem")
        assert exports == [
            {"export": f"old-{WEB}", "points": 2, "problem": ""},
            {"export": WEB, "points": 1, "problem": ""},
        ]
        for name in (f"old-{WEB}", WEB):
            real.gnt("gnt-backup", "remove", name)
    finally:
        real.remove_all()
        shutil.rmtree(real.root(2) / EXPORT, ignore_errors=True)
