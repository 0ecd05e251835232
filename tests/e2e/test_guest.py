"""A real guest under QEMU: it boots, speaks, shuts down, and is noticed when it goes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster, eventually, local_cluster

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(240)]
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


def _console(cluster: Cluster) -> Path:
    (log,) = (cluster.root() / "var/log/gantry/console").glob("web1*.log")
    return log


def _says(cluster: Cluster, text: str, times: int) -> None:
    eventually(
        f"the guest says {text!r} {times} times",
        lambda: _console(cluster).read_text(errors="replace").count(text) >= times,
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
    argv = [str(guest.root() / "bin/gnt-instance"), "console", "web1"]
    with subprocess.Popen(
        argv,
        env=guest.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as console:
        assert console.stdin is not None
        console.stdin.write(b"\necho typed-$((6*7)); poweroff\n")
        _says(guest, "typed-42", 1)
        console.terminate()
    _says(guest, f"{WEB} is going down", 1)
    eventually("supervision reacts", lambda: len(guest.rows("gnt-job", "list")) > jobs, 30)
    _says(guest, f"{WEB} is up", 2)
    assert guest.instance(WEB, "status")["status"] == "running"


def test_the_guest_outlives_its_agent_and_its_master(guest: Cluster) -> None:
    before = _qemus(guest)
    guest.kill("agent")
    guest.kill("master")
    guest.local("up")
    eventually(
        "the guest is taken over", lambda: guest.instance(WEB, "status")["status"] == "running"
    )
    assert _qemus(guest) == before


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
