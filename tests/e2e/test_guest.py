"""A real guest under QEMU: it boots, speaks, shuts down, and is noticed when it goes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually, local_cluster

pytestmark = pytest.mark.qemu
WEB = "web1.gantry.test"
BOOT = 90.0


@pytest.fixture(scope="module")
def real() -> Iterator[Cluster]:
    """One node with the real hypervisor and a kernel for guests."""
    with local_cluster("--nodes", "1", "--hypervisors", "kvm") as cluster:
        yield cluster


@pytest.fixture
def guest(real: Cluster) -> Iterator[Cluster]:
    """An instance that has booted."""
    real.gnt(
        "gnt-instance", "add", "-t", "file", "-s", "64M", "-o", "busybox", "-n", "node1",
        "-B", "memory=96M", "--net", "0:mode=user,ip=10.0.2.15", WEB,
    )  # fmt: skip
    _says(real, f"{WEB} is up, address 10.0.2.15", 1)
    yield real
    real.remove_all()


def _console(cluster: Cluster, name: str = WEB) -> Path:
    return cluster.root() / f"var/log/gantry/console/{name}.log"


def _says(cluster: Cluster, text: str, times: int, name: str = WEB) -> None:
    eventually(
        f"the guest says {text!r} {times} times",
        lambda: _console(cluster, name).read_text(errors="replace").count(text) >= times,
        BOOT,
    )


def test_the_guest_tells_its_name_and_goes_down_in_an_orderly_way(guest: Cluster) -> None:
    assert guest.instance(WEB, "status")["status"] == "running"
    guest.gnt("gnt-instance", "stop", "web1")
    assert "is going down" in _console(guest).read_text(errors="replace")
    assert guest.instance(WEB, "status")["status"] == "ADMIN_down"
    guest.gnt("gnt-instance", "start", "web1")
    _says(guest, f"{WEB} is up", 2)


def test_a_user_can_type_on_the_console_and_poweroff_inside_is_noticed(guest: Cluster) -> None:
    jobs = len(guest.rows("gnt-job", "list"))
    _type(guest, WEB, "echo typed-$((6*7)); poweroff", "typed-42")
    _says(guest, f"{WEB} is going down", 1)
    eventually("supervision reacts", lambda: len(guest.rows("gnt-job", "list")) > jobs)
    _says(guest, f"{WEB} is up", 2)
    assert guest.instance(WEB, "status")["status"] == "running"


def _type(cluster: Cluster, name: str, command: str, answer: str) -> None:
    """Into the shell on the guest's console."""
    with subprocess.Popen(
        [str(cluster.root() / "bin/gnt-instance"), "console", name],
        env=cluster.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as console:
        assert console.stdin is not None
        console.stdin.write(f"\n{command}\n".encode())
        _says(cluster, answer, 1, name)
        console.terminate()


def test_a_guest_comes_back_with_its_files_and_boots_under_each_new_name(guest: Cluster) -> None:
    two, three = "web2.gantry.test", "web3.gantry.test"
    _type(guest, WEB, "echo kept-$((6*7)) > /kept; sync; echo was-$((6*7))", "was-42")
    said = guest.gnt("gnt-backup", "export", "-n", "node1", "--remove-instance", WEB)
    assert guest.instances() == []
    assert "shutting down" in said
    guest.gnt("gnt-backup", "import", "-n", "node1", "--src-dir", WEB, two)
    guest.gnt("gnt-instance", "start", two)
    _says(guest, f"{two} is up, address 10.0.2.15", 1, two)
    _type(guest, two, "cat /kept", "kept-42")
    guest.gnt("gnt-instance", "stop", two)
    guest.gnt("gnt-instance", "rename", "--no-name-check", two, three)
    guest.gnt("gnt-instance", "start", three)
    _says(guest, f"{three} is up", 1, three)
    _type(guest, three, "cat /kept", "kept-42")
    guest.gnt("gnt-instance", "stop", three)
    guest.gnt("gnt-instance", "reinstall", "-f", three)
    guest.gnt("gnt-instance", "start", three)
    _says(guest, f"{three} is up", 2, three)
    _type(guest, three, "test -e /kept || echo gone-$((6*7))", "gone-42")
    guest.gnt("gnt-backup", "remove", WEB)


def test_the_guest_and_its_new_disk_outlive_its_agent_and_its_master(guest: Cluster) -> None:
    before = _qemus(guest)
    guest.gnt("gnt-instance", "modify", "--hotplug", "--disk", "add:size=16M,name=data", WEB)
    _sees(guest, 16 << 10, "new-42")
    guest.gnt("gnt-instance", "grow-disk", WEB, "data", "16M")
    _sees(guest, 32 << 10, "grown-42")
    guest.kill("agent")
    guest.kill("master")
    guest.local("up")
    eventually(
        "the guest is taken over", lambda: guest.instance(WEB, "status")["status"] == "running"
    )
    assert _qemus(guest) == before
    guest.gnt("gnt-instance", "grow-disk", "--absolute", WEB, "sdb", "48M")
    _sees(guest, 48 << 10, "again-42")
    guest.gnt("gnt-instance", "modify", "--hotplug", "--disk", "data:remove", WEB)
    _type(guest, WEB, "grep -q vdb /proc/partitions || echo gone-$((6*7))", "gone-42")
    guest.gnt("gnt-cluster", "verify-disks")
    assert len(list(guest.root().glob("srv/ganeti/file-storage/*/*"))) == 1


def _sees(cluster: Cluster, size: int, answer: str) -> None:
    """Its second disk has so many KiB."""
    word = answer.partition("-")[0]
    until = f"until grep -q ' {size} vdb' /proc/partitions; do sleep 1; done"
    _type(cluster, WEB, f"{until}; echo {word}-$((6*7))", answer)


def _qemus(cluster: Cluster) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in argv.split(b"\0")[0] and str(cluster.directory).encode() in argv:
                found.append(int(entry.name))
    return sorted(found)


def test_down_shuts_the_guest_down_and_up_brings_it_back(guest: Cluster) -> None:
    guest.local("down")
    assert _qemus(guest) == []
    assert "is going down" in _console(guest).read_text(errors="replace")
    guest.local("up")
    _says(guest, f"{WEB} is up", 2)
