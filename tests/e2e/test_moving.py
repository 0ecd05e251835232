"""A real guest goes from node to node as it runs, while what moves it is killed.

The guest counts aloud, with the number of its boot: what it said is in the console logs of the
nodes that ran it. A count that two nodes have heard would be a guest that ran twice.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually, kill, local_cluster

pytestmark = pytest.mark.qemu
WEB = "web1.gantry.test"
BOOT = 90.0
SLOWLY = "16"
"""MiB/s: it takes some five seconds."""
_COUNT = (
    "b=$(cat /proc/sys/kernel/random/boot_id); i=0; "
    'while :; do i=$((i+1)); echo "T $b $i"; sleep 0.1; done &\n'
)
_TICK = re.compile(r"T ([0-9a-f-]{36}) (\d+)\n")
Count = tuple[str, int]
"""The boot's number, and the count."""


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    """Two nodes and a guest that counts, on a disk that both see."""
    with local_cluster("--nodes", "2", "--hypervisors", "kvm") as cluster:
        cluster.gnt(
            "gnt-instance", "add", "-t", "sharedfile", "-s", "64M", "-o", "busybox", "-n", "node1",
            "-B", "memory=96M", "--net", "0:mode=user,ip=10.0.2.15",
            "-H", f"kvm:migration_bandwidth={SLOWLY}", WEB,
        )  # fmt: skip
        begin_to_count(cluster, 1)
        yield cluster
        cluster.remove_all()


def log(cluster: Cluster, node: int) -> Path:
    return cluster.root(node) / f"var/log/gantry/console/{WEB}.log"


def counted(cluster: Cluster, node: int) -> list[Count]:
    """What the node has heard so far."""
    try:
        text = log(cluster, node).read_text(errors="replace")
    except FileNotFoundError:
        return []
    return [(boot, int(number)) for boot, number in _TICK.findall(text)]


def begin_to_count(cluster: Cluster, node: int) -> None:
    """Wait for the guest's boot on that node, and type the loop."""
    eventually("it boots", lambda: "~#" in log(cluster, node).read_text("utf-8", "replace"), BOOT)
    argv = [str(cluster.root() / "bin/gnt-instance"), "console", "web1"]
    with subprocess.Popen(
        argv,
        env=cluster.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as console:
        assert console.stdin is not None
        console.stdin.write(b"\n" + _COUNT.encode())
        eventually("it counts", lambda: len(counted(cluster, node)) > 2, BOOT)
        console.terminate()


def home(cluster: Cluster) -> tuple[int, str]:
    """The number of its node, and its status."""
    row = cluster.instance(WEB, "pnode", "status")
    return int(row["pnode"].removeprefix("node").partition(".")[0]), row["status"]


def runs_on(cluster: Cluster, node: int, boot: str | None = None) -> None:
    """The record says so, it counts there and nowhere else, and never counted twice."""
    eventually("the record is right", lambda: home(cluster) == (node, "running"), BOOT)
    before = counted(cluster, node)
    now = eventually("it counts on", lambda: counted(cluster, node)[len(before) + 5 :], BOOT)
    if boot is not None:
        assert now[-1][0] == boot, "it was started anew"
    both = set(counted(cluster, 1)) & set(counted(cluster, 2))
    assert not both
    assert len(qemus(cluster)) == 1


def qemus(cluster: Cluster, node: int | None = None) -> list[int]:
    """The guest's processes, of one node or of both."""
    wanted = str(cluster.root(node) if node else cluster.directory)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in argv.split(b"\0")[0] and f"{wanted}/".encode() in argv:
                found.append(int(entry.name))
    return sorted(found)


def begun(cluster: Cluster, *arguments: str) -> tuple[int, int, str]:
    """A migration that is under way: its job, the node that it leaves, the boot's number."""
    here, _ = home(cluster)
    boot = counted(cluster, here)[-1][0]
    job = int(cluster.gnt("gnt-instance", "migrate", "-f", "--submit", *arguments, "web1"))
    eventually("it is being sent", lambda: "memory:" in cluster.gnt("gnt-job", "info", str(job)))
    return job, here, boot


def ended(cluster: Cluster, job: int) -> str:
    """How the job ended."""

    def status() -> str:
        (row,) = cluster.rows("gnt-job", "list", "-o", "status", str(job))
        return row["status"] if row["status"] in ("success", "error", "canceled") else ""

    return eventually("the job ends", status, 120)


def told(cluster: Cluster, job: int) -> str:
    """All about the job, for a test that fails."""
    return cluster.gnt("gnt-job", "info", str(job))


def other(node: int) -> int:
    return 3 - node


def test_it_goes_and_comes_back_as_it_runs(real: Cluster) -> None:
    here, _ = home(real)
    boot = counted(real, here)[-1][0]
    for node in (other(here), here):
        real.gnt("gnt-instance", "migrate", "-f", "web1")
        runs_on(real, node, boot)


@pytest.mark.parametrize(
    ("role", "end"), [("agent", "source"), ("agent", "target"), ("master", "")]
)
def test_a_daemon_that_is_killed_and_comes_back_changes_nothing(
    real: Cluster, role: str, end: str
) -> None:
    job, here, boot = begun(real)
    real.kill(role, {"source": here, "target": other(here)}.get(end, 1))
    real.local("up")
    assert ended(real, job) == "success", told(real, job)
    runs_on(real, other(here), boot)


def test_where_the_target_dies_it_goes_on_where_it_was(real: Cluster) -> None:
    job, here, boot = begun(real)
    [process] = qemus(real, other(here))
    kill(process)
    assert ended(real, job) == "error", told(real, job)
    runs_on(real, here, boot)


def test_cancelled_it_goes_on_where_it_was(real: Cluster) -> None:
    job, here, boot = begun(real)
    real.gnt("gnt-job", "cancel", "--kill", str(job))
    assert ended(real, job) == "canceled", told(real, job)
    runs_on(real, here, boot)


def test_after_its_deadline_it_goes_on_where_it_was(real: Cluster) -> None:
    began = time.monotonic()
    here, _ = home(real)
    boot = counted(real, here)[-1][0]
    said = real.refused("gnt-instance", "migrate", "-f", "--deadline=2", "web1")
    assert "was not sent within 2 s" in said
    assert "migration_downtime" in said
    assert time.monotonic() - began < 60
    runs_on(real, here, boot)


def test_where_the_source_dies_it_is_started_anew(real: Cluster) -> None:
    job, here, boot = begun(real)
    log(real, here).write_text("")
    [process] = qemus(real, here)
    kill(process)
    assert ended(real, job) == "error", told(real, job)
    eventually("it is up again", lambda: home(real) == (here, "running"), BOOT)
    begin_to_count(real, here)
    runs_on(real, here)
    assert counted(real, here)[-1][0] != boot
