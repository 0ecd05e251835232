"""Transfers that break half-way: nothing half is left, what happened is said, a re-run works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually

NAME = "web1.gantry.test"
EXPORT = "var/lib/ganeti/export"
WAITS = 'while [ ! -e "{go}" ]; do sleep 0.05; done'


@pytest.fixture
def slow(cluster: Cluster, tmp_path: Path) -> Iterator[Slow]:
    """An instance on node 1 whose scripts wait half-way until they may go on."""
    go, half = tmp_path / "go", tmp_path / "half"
    cluster.os_definition("slow", 'head -c 3000000 /dev/urandom > "$DISK_0_PATH.x"; exit 0')
    waits = WAITS.format(go=go)
    scripts = {
        "create": 'head -c 3000000 /dev/urandom | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null',
        "export": f'head -c 2000000 "$EXPORT_DEVICE"\n{waits}\ntail -c +2000001 "$EXPORT_DEVICE"',
        "import": f'head -c 1000000 > /dev/null\ntouch "{half}"\n{waits}\n'
        'dd of="$IMPORT_DEVICE" bs=64k iflag=fullblock conv=notrunc',
    }
    for number in (1, 2, 3):
        for name, text in scripts.items():
            path = cluster.root(number) / "srv/ganeti/os/slow" / name
            path.write_text("#!/bin/sh -e\n" + text + "\n")
            path.chmod(0o755)
    cluster.gnt("gnt-os", "diagnose")
    cluster.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "8M", "-o", "slow", "-n", "node1",
        "-B", "memory=32M", "--no-start", NAME,
    )  # fmt: skip
    yield Slow(cluster, go)
    for number in (1, 2, 3):
        shutil.rmtree(cluster.root(number) / EXPORT, ignore_errors=True)


class Slow:
    def __init__(self, cluster: Cluster, go: Path) -> None:
        self.cluster = cluster
        self.go = go

    def export(self, node: int = 2) -> str:
        """Begin one; the job's number, once bytes have come."""
        said = self.cluster.gnt("gnt-backup", "export", "-n", f"node{node}", "--submit", NAME)
        place = self.cluster.root(node) / EXPORT
        eventually("bytes come", lambda: any(_sizes(place, f".{NAME}.new/*-*")))
        return said.split()[-1]

    def ends(self, job: str) -> str:
        """Wait for the job's end, which is a failure; what it says."""
        self.cluster.try_gnt("gnt-job", "wait", job)
        said = self.cluster.gnt("gnt-job", "info", job)
        assert "error" in said.lower(), said
        return said

    def processes(self) -> list[str]:
        """Programs of transfers that run on this cluster."""
        mine = f"GANTRY_ROOT={self.cluster.directory}/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environment = (entry / "environ").read_bytes()
                if b"GANTRY_TRANSFER=" in environment and mine in environment:
                    found.append(entry.name)
            except OSError:
                continue
        return found

    def program(self, name: str, node: int) -> int:
        """The pid of one of those programs."""
        for pid in self.processes():
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            root = f"GANTRY_ROOT={self.cluster.root(node)}".encode()
            if root in environment and Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
        raise AssertionError(f"no {name} runs on node {node}")

    def nothing_half(self, exported: list[str]) -> None:
        """No half export, no disk of nobody, no program, no file; and only then it works again."""

        def clean() -> bool:
            roots = [self.cluster.root(number) for number in (1, 2, 3)]
            left = [
                path
                for root in roots
                for pattern in (f"{EXPORT}/.*", "run/gantry/transfers/*")
                for path in root.glob(pattern)
            ]
            return not left and not self.processes()

        eventually("nothing half is left", clean)
        found = [row["export"] for row in self.cluster.rows("gnt-backup", "list")]
        assert found == exported

    def works(self) -> None:
        """A re-run."""
        self.go.touch()
        self.cluster.gnt("gnt-backup", "export", "-n", "node2", NAME)
        self.nothing_half([NAME])


def _sizes(place: Path, pattern: str) -> list[int]:
    return [path.stat().st_size for path in place.glob(pattern)]


@pytest.mark.parametrize("number", [1, 2])
def test_an_agent_that_is_killed(slow: Slow, number: int) -> None:
    job = slow.export()
    slow.cluster.kill("agent", number)
    slow.cluster.local("up")
    said = slow.ends(job)
    # Whichever the master sees first: the old agent gone, or the new one there.
    assert "restarted" in said or "does not answer" in said
    slow.nothing_half([])
    slow.works()


@pytest.mark.parametrize("end", [1, 2])
def test_a_connection_that_breaks(slow: Slow, end: int) -> None:
    slow.go.touch()
    slow.cluster.gnt("gnt-backup", "export", "-n", "node2", NAME)
    slow.go.unlink()
    job = slow.export()
    # What a cut wire comes to, once the kernel has given up: the connection's end dies.
    os.kill(slow.program("socat", end), signal.SIGKILL)
    slow.go.touch()
    said = slow.ends(job)
    assert "socat" in said, said
    slow.nothing_half([NAME])
    slow.works()


def test_a_cancelled_job(slow: Slow) -> None:
    job = slow.export(node=1)
    slow.cluster.gnt("gnt-job", "cancel", "--kill", "--yes-do-it", job)
    slow.nothing_half([])
    slow.works()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_target_that_is_full(slow: Slow) -> None:
    slow.go.touch()
    with small(slow.cluster.root(2) / EXPORT, "1m"):
        said = slow.cluster.refused("gnt-backup", "export", "-n", "node2", NAME)
        assert "no space is left on node node2.gantry.test" in said, said
        slow.nothing_half([])
        # The same without scripts.
        slow.cluster.gnt(
            "gnt-instance", "add", "-t", "file", "-s", "16M", "--no-install", "-n", "node1",
            "-B", "memory=32M", "--no-start", "raw.gantry.test",
        )  # fmt: skip
        [disk] = slow.cluster.root(1).glob("srv/ganeti/file-storage/raw.gantry.test/*")
        disk.write_bytes(b"x" * (16 << 20))
        said = slow.cluster.refused("gnt-backup", "export", "-n", "node2", "raw")
        assert "no space is left on node node2.gantry.test" in said, said
        slow.nothing_half([])
    slow.works()


@contextmanager
def small(place: Path, size: str) -> Iterator[None]:
    """A file system of that size is there."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


class Import:
    """Of the instance's export, as another one on node 3; its script waits half-way."""

    NEW = "new.gantry.test"

    def __init__(self, slow: Slow) -> None:
        self.slow, self.cluster = slow, slow.cluster
        slow.go.touch()
        self.cluster.gnt("gnt-backup", "export", "-n", "node2", NAME)
        slow.go.unlink()
        self.place = self.cluster.root(3) / "srv/ganeti/file-storage"

    def begin(self) -> str:
        half = self.slow.go.with_name("half")
        half.unlink(missing_ok=True)
        job = self._run("--submit").split()[-1]
        eventually("the script has had a part of it", half.exists)
        return job

    def nothing_half(self) -> None:
        """Neither an instance nor a disk; and the export is what it was. Then it works."""
        self.slow.nothing_half([NAME])
        assert self.cluster.instances() == [NAME]
        eventually("the disk is gone", lambda: not (self.place / self.NEW).exists())

    def works(self) -> None:
        self.slow.go.touch()
        self._run()
        assert self.cluster.instances() == [self.NEW, NAME]

    def room(self) -> int:
        """MiB that node 3 has left, as the master knows."""
        asked = ("list", "--no-headers", "--units=m", "-o", "dfree", "node3")
        return int(self.cluster.gnt("gnt-node", *asked))

    def _run(self, *more: str) -> str:
        arguments = ("import", "-n", "node3", "--src-dir", NAME, "--src-node", "node2", *more)
        return self.cluster.gnt("gnt-backup", *arguments, self.NEW)


@pytest.mark.parametrize("number", [2, 3])
def test_an_import_whose_agent_is_killed(slow: Slow, number: int) -> None:
    made = Import(slow)
    job = made.begin()
    slow.cluster.kill("agent", number)
    slow.cluster.local("up")
    slow.go.touch()
    slow.ends(job)
    made.nothing_half()
    made.works()


@pytest.mark.parametrize("end", [2, 3])
def test_an_import_whose_connection_breaks(slow: Slow, end: int) -> None:
    made = Import(slow)
    job = made.begin()
    os.kill(slow.program("socat", end), signal.SIGKILL)
    slow.go.touch()
    said = slow.ends(job)
    assert "socat" in said, said
    made.nothing_half()
    made.works()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_an_import_to_a_disk_that_is_full(slow: Slow) -> None:
    made = Import(slow)
    with small(made.place, "16m"):
        job = made.begin()
        # Room enough there was, until somebody else took it.
        filler = made.place / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        slow.go.touch()
        said = slow.ends(job)
        assert "No space left on device" in said, said
        assert f"the file system of {made.place}" in said
        filler.unlink()
        made.nothing_half()
    # What a node has left the master learns every few seconds.
    eventually("node3 has room again", lambda: made.room() > 16)
    made.works()
