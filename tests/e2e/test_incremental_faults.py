"""Chains of exports while agents die, disks are full and the guest writes on: no half point."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support import numbered_writer
from tests.support.cluster import Cluster, eventually, processes_below
from tests.support.held_programs import HeldPrograms, held_cluster

pytestmark = [pytest.mark.qemu, pytest.mark.root]
WEB = "web1.gantry.test"
EXPORT = "var/lib/ganeti/export"
PACK, UNPACK, MERGE = "zstd -q -c", "zstd -q -c -d", "qemu-img rebase *"
MIB = 1 << 20


@pytest.fixture(scope="module")
def real() -> Iterator[HeldPrograms]:
    arguments = ("--nodes", "2", "--hypervisors", "kvm,fake", "--no-kernel")
    with held_cluster(*arguments, programs=("zstd", "qemu-img")) as cluster:
        yield cluster


class Chain:
    """Of a guest that never stops writing numbered blocks; exports of it are on node 2."""

    def __init__(self, cluster: HeldPrograms) -> None:
        self.cluster = cluster
        self.place = cluster.root(2) / EXPORT
        self.console = cluster.root() / f"var/log/gantry/console/{WEB}.log"

    def export(self, *arguments: str) -> str:
        return self.cluster.gnt("gnt-backup", *INCREMENT, *arguments, WEB)

    def written(self) -> int:
        """The last number that the guest was told is on its disk."""
        return numbered_writer.acknowledged(self.console.read_bytes())

    def writes_on(self) -> None:
        """Returns when some hundred KiB more have been written."""
        beyond = self.written() + 100
        eventually("the guest has written more", lambda: self.written() > beyond)

    def points(self) -> list[tuple[int, str]]:
        rows = self.cluster.rows("gnt-backup", "list", "--points", "-o", "point,kind,problem")
        assert not any(row["problem"] for row in rows), rows
        return [(row["point"], row["kind"]) for row in rows]

    def moment(self, point: int) -> int:
        """Which number was the last one when the guest's disk was what the point has."""
        self.cluster.gnt(
            "gnt-backup", "import", "-n", "node2", "--src-node", "node2", "--src-dir", WEB,
            "-t", "file", "--point", str(point), "copy.gantry.test",
        )  # fmt: skip
        [disk] = self.cluster.root(2).glob("srv/ganeti/file-storage/copy.gantry.test/*.disk0")
        found = numbered_writer.moment(disk)
        self.cluster.gnt("gnt-instance", "remove", "-f", "copy.gantry.test")
        return found

    def unchanged(self, wanted: list[tuple[int, str]]) -> None:
        """These points are all there is, and good; of what failed nothing is left."""

        def clean() -> bool:
            left = [
                path
                for number in (1, 2)
                for pattern in (f"{EXPORT}/.*", "run/gantry/transfers/*")
                for path in self.cluster.root(number).glob(pattern)
            ]
            beside = list(self.cluster.root().glob(f"srv/ganeti/file-storage/{WEB}/.*"))
            return not left and not beside

        eventually("nothing half is left", clean)
        assert self.points() == wanted
        said = self.cluster.gnt("gnt-backup", "verify", "-n", "node2", WEB)
        assert f"({len(wanted)} dumps)" in said

    def fails(self, job: str) -> str:
        """Wait for the end of a job that fails; what it says."""
        self.cluster.try_gnt("gnt-job", "wait", job)
        assert self.status(job) == "error"
        return self.cluster.gnt("gnt-job", "info", job)

    def removal(self, point: int) -> str:
        """The job, just submitted, that takes it out."""
        said = self.cluster.gnt("gnt-backup", "remove", "--point", str(point), "--submit", WEB)
        return said.split()[-1]

    def status(self, job: str) -> str:
        [found] = self.cluster.rows("gnt-job", "list", "-o", "status", job)
        return str(found["status"])

    def over(self, job: str) -> bool:
        return self.status(job) in ("success", "error")


INCREMENT = ("export", "-n", "node2", "--incremental")
TWO = [(1, "full"), (2, "incremental")]


@contextmanager
def _chain(real: HeldPrograms) -> Iterator[Chain]:
    """Of two points."""
    real.gnt(
        "gnt-instance", "add", "-t", "file", "-s", f"{numbered_writer.SIZE_MIB}M",
        "--no-install", "--no-start", "-n", "node1", "-H", "kvm", "-B", "memory=32M", WEB,
    )  # fmt: skip
    [disk] = real.root().glob(f"srv/ganeti/file-storage/{WEB}/*.disk0")
    numbered_writer.write(disk)
    real.gnt("gnt-instance", "start", WEB)
    made = Chain(real)
    made.export()
    made.export()
    try:
        yield made
    finally:
        real.let_go()
        real.mend()
        real.remove_all()
        for number in (1, 2):
            shutil.rmtree(real.root(number) / EXPORT, ignore_errors=True)


@pytest.fixture
def chain(real: HeldPrograms) -> Iterator[Chain]:
    """The same for a test."""
    with _chain(real) as made:
        yield made


def test_a_point_is_what_the_disk_was_at_one_moment_while_the_guest_writes_on(
    chain: Chain,
) -> None:
    bounds = []
    for _ in range(3):
        chain.writes_on()
        before = chain.written()
        chain.export()
        bounds.append((before, chain.written()))
    moments = [chain.moment(point) for point in (3, 4, 5)]
    for moment, (before, after) in zip(moments, bounds, strict=True):
        assert before <= moment < after


@pytest.mark.parametrize(("number", "call"), [(1, PACK), (2, UNPACK)])
def test_an_agent_that_is_killed_while_a_point_is_made(
    chain: Chain, number: int, call: str
) -> None:
    real = chain.cluster
    real.hold(call)
    said = real.gnt("gnt-backup", *INCREMENT, "--transport-compression", "zstd", "--submit", WEB)
    real.begun(call)
    real.kill("agent", number)
    real.local("up")
    said = chain.fails(said.split()[-1])
    assert "restarted" in said or "does not answer" in said, said
    real.let_go()
    chain.unchanged(TWO)
    # What has changed is still known.
    chain.writes_on()
    before = chain.written()
    assert "what has changed since point 2" in chain.export()
    assert chain.moment(3) >= before


def test_an_agent_that_is_killed_while_a_point_is_taken_out(chain: Chain) -> None:
    real = chain.cluster
    chain.export()
    three = [*TWO, (3, "incremental")]
    moment = chain.moment(3)
    real.hold(MERGE)
    job = chain.removal(2)
    real.begun(MERGE)
    real.kill("agent", 2)
    # It does not come back while the job asks for it.
    said = chain.fails(job)
    assert "does not answer" in said, said
    real.local("up")
    # Whatever still runs of it has nothing to work on any more.
    real.let_go()
    chain.unchanged(three)
    eventually("no program of it is left", lambda: not _runs(real, "qemu-img"))

    real.hold(MERGE)
    job = chain.removal(2)
    real.begun(MERGE)
    real.kill("agent", 2)
    real.forget_begun()
    real.local("up")
    # One that is back in time merges anew; otherwise the job has failed, and is given again.
    eventually("it is over or begun anew", lambda: chain.over(job) or real.has_begun(MERGE), 60)
    real.let_go()
    real.try_gnt("gnt-job", "wait", job)
    if chain.status(job) == "error":
        chain.unchanged(three)
        real.gnt("gnt-backup", "remove", "--point", "2", WEB)
    chain.unchanged([(1, "full"), (3, "incremental")])
    assert chain.moment(3) == moment
    assert "what has changed since point 3" in chain.export()


def _runs(cluster: Cluster, program: str) -> bool:
    return any(program in line for line in processes_below(cluster.directory))


def test_a_target_that_is_full(real: HeldPrograms) -> None:
    with _small(real.root(2) / EXPORT) as place, _chain(real) as chain:
        chain.writes_on()
        with _filled(place):
            said = real.refused("gnt-backup", *INCREMENT, WEB)
            assert "no space is left on node node2.gantry.test" in said, said
            chain.unchanged(TWO)
            said = real.refused("gnt-backup", "remove", "--point", "1", WEB)
            assert "point 1 stays, since no space is left beside it" in said, said
            assert "node2.gantry.test" in said
            chain.unchanged(TWO)
        assert "what has changed since point 2" in chain.export()
        real.gnt("gnt-backup", "remove", "--point", "1", WEB)
        chain.unchanged([(2, "full"), (3, "incremental")])


@contextmanager
def _small(place: Path) -> Iterator[Path]:
    """A file system of 32 MiB is there."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "small", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def _filled(place: Path) -> Iterator[None]:
    """It has 256 KiB left."""
    room = os.statvfs(place)
    filler = place / "filler"
    filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize - MIB // 4))
    try:
        yield
    finally:
        filler.unlink()
