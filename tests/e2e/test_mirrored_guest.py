"""A real guest with a mirrored disk, whose node dies with everything on it."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually, kill, local_cluster

pytestmark = pytest.mark.qemu
WEB = "web1.gantry.test"
BOOT = 120.0


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    """Three nodes with the real hypervisor and a kernel for guests."""
    with local_cluster("--nodes", "3", "--hypervisors", "kvm") as cluster:
        cluster.whole()
        yield cluster


def says(cluster: Cluster, node: int, text: str, times: int = 1) -> None:
    log = cluster.root(node) / f"var/log/gantry/console/{WEB}.log"
    eventually(
        f"the guest on node{node} says {text!r} {times} times",
        lambda: log.exists() and log.read_text(errors="replace").count(text) >= times,
        BOOT,
    )


def types(cluster: Cluster, node: int, command: str, answer: str) -> None:
    """Into the shell on the console of the guest, which runs on that node."""
    with subprocess.Popen(
        [str(cluster.root() / "bin/gnt-instance"), "console", WEB],
        env=cluster.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as console:
        assert console.stdin is not None
        console.stdin.write(f"\n{command}\n".encode())
        says(cluster, node, answer)
        console.terminate()


def becomes(cluster: Cluster, *wanted: object) -> None:
    """The primary node, the state, and how redundant the disk is."""

    def shown() -> tuple[object, ...]:
        found = cluster.instance(WEB, "pnode", "status", "disk.redundancy")
        return (found["pnode"].partition(".")[0], found["status"], found["disk.redundancy"][0])

    eventually(f"web1 is {wanted}", lambda: shown() == wanted, 90)


def processes(cluster: Cluster, node: int, program: str) -> list[int]:
    """Of that program, with the node's directory among its arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            name = argv.split(b"\0", 1)[0].rpartition(b"/")[2].decode()
            if name.startswith(program) and str(cluster.root(node)).encode() in argv:
                found.append(int(entry.name))
    return found


def replicas(cluster: Cluster, index: int = 0) -> list[str]:
    """Hashes of a disk's files on all nodes."""
    return [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for number in (1, 2, 3)
        for file in (cluster.root(number) / "srv/ganeti/file-storage").rglob(
            f"*.mirror.disk{index}"
        )
        if not file.name.startswith(".")
    ]


def test_what_a_guest_wrote_survives_the_death_of_its_node(real: Cluster) -> None:
    real.gnt(
        "gnt-instance", "add", "-t", "mirror", "-s", "64M", "-o", "busybox", "-n", "node2:node3",
        "-B", "memory=96M", "--net", "0:mode=user", WEB,
    )  # fmt: skip
    says(real, 2, f"{WEB} is up")
    becomes(real, "node2", "running", "in-sync")

    # A storage daemon dies: what the guest writes meanwhile is copied afterwards.
    for pid in processes(real, 3, "qemu-storage-daemon"):
        kill(pid)
    types(real, 2, "echo kept-$((6*7)) > /kept; sync; echo was-$((6*7))", "was-42")
    becomes(real, "node2", "running", "in-sync")

    # It goes to its other node and back as it runs: what it knows it knows still.
    types(real, 2, "was=here-$((6*7)); echo set-$((6*7))", "set-42")
    real.gnt("gnt-instance", "migrate", "-f", "web1")
    types(real, 3, "echo still-$was", "still-here-42")
    becomes(real, "node3", "running", "in-sync")
    real.gnt("gnt-node", "evacuate", "-f", "-p", "node3")
    becomes(real, "node2", "running", "in-sync")
    types(real, 2, "echo again-$was; sync", "again-here-42")

    # The node dies, with all that runs there.
    real.kill("agent", 2)
    for program in ("qemu-system", "qemu-storage-daemon"):
        for pid in processes(real, 2, program):
            kill(pid)
    eventually(
        "the node is missed",
        lambda: "nothing proves" in real.try_gnt("gnt-instance", "failover", "-f", "web1").said,
        60,
    )
    real.gnt("gnt-node", "modify", "-f", "--offline=yes", "node2")
    real.gnt("gnt-instance", "failover", "-f", "web1")
    says(real, 3, f"{WEB} is up")
    becomes(real, "node3", "running", "degraded")
    types(real, 3, "cat /kept", "kept-42")

    # It is back, and nobody does anything more.
    real.mend()
    real.gnt("gnt-node", "modify", "--offline=no", "node2")
    becomes(real, "node3", "running", "in-sync")

    # Its disk becomes a file and is mirrored again, and another one comes and goes.
    real.gnt("gnt-instance", "modify", "-t", "file", "web1")
    assert len(replicas(real)) == 1
    real.gnt("gnt-instance", "modify", "-t", "mirror", "-n", "node2", "web1")
    types(real, 3, "echo more-$((6*7)) > /more; sync; echo wrote-$((6*7))", "wrote-42")
    becomes(real, "node3", "running", "in-sync")
    real.gnt("gnt-instance", "modify", "--hotplug", "--disk", "add:size=8M", "web1")
    appears = "until grep -q vdb /proc/partitions; do sleep 1; done"
    types(real, 3, f"{appears}; echo came-$((6*7)) > /dev/vdb; sync; echo has-$((6*7))", "has-42")
    assert len(set(replicas(real, 1))) == 1
    assert real.instance("web1", "disk.redundancy")["disk.redundancy"] == ["in-sync", "in-sync"]
    real.gnt("gnt-instance", "modify", "--hotplug", "--disk", "-1:remove", "web1")
    eventually("its replicas are gone", lambda: replicas(real, 1) == [], 30)
    real.gnt("gnt-instance", "stop", "web1")
    assert len(replicas(real)) == 2
    assert len(set(replicas(real))) == 1
    assert real.try_gnt("gnt-cluster", "verify-disks").status == 0
