"""Transfers that break half-way: nothing half is left, what happened is said, a re-run works."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually

NAME = "web1.gantry.test"
EXPORT = "var/lib/ganeti/export"
WAITS = 'while [ ! -e "{go}" ]; do sleep 0.05; done'


@pytest.fixture
def slow(cluster: Cluster, tmp_path: Path) -> Iterator[Slow]:
    """An instance on node 1 whose scripts wait half-way until they may go on."""
    go = tmp_path / "go"
    cluster.os_definition("slow", 'head -c 3000000 /dev/urandom > "$DISK_0_PATH.x"; exit 0')
    waits = WAITS.format(go=go)
    scripts = {
        "create": 'head -c 3000000 /dev/urandom | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null',
        "export": f'head -c 2000000 "$EXPORT_DEVICE"\n{waits}\ntail -c +2000001 "$EXPORT_DEVICE"',
        "import": f'head -c 1000000 > "$IMPORT_DEVICE.part"\nrm "$IMPORT_DEVICE.part"\n{waits}\n'
        "cat > /dev/null",
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
    with small(slow.cluster.root(2) / EXPORT):
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
def small(place: Path) -> Iterator[None]:
    """A file system of 1 MiB is there."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("number", [2, 3])
def test_an_import_whose_agent_is_killed(slow: Slow, number: int) -> None:
    slow.go.touch()
    slow.cluster.gnt("gnt-backup", "export", "-n", "node2", NAME)
    slow.go.unlink()
    arguments = ("import", "-n", "node3", "--src-dir", NAME, "--src-node", "node2")
    said = slow.cluster.gnt("gnt-backup", *arguments, "--submit", "new.gantry.test")
    job = said.split()[-1]
    log = slow.cluster.root(3) / "var/log/ganeti/os"
    eventually("the script runs", lambda: any(log.glob("import-slow-new.gantry.test*")))
    slow.cluster.kill("agent", number)
    slow.cluster.local("up")
    slow.go.touch()
    slow.ends(job)
    slow.nothing_half([NAME])
    assert slow.cluster.instances() == [NAME]
    place = slow.cluster.root(3) / "srv/ganeti/file-storage/new.gantry.test"
    eventually("the disk is gone", lambda: not place.exists())
    slow.cluster.gnt("gnt-backup", *arguments, "new.gantry.test")
    assert slow.cluster.instances() == ["new.gantry.test", NAME]
