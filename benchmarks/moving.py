"""Moving instances between the nodes of a local cluster: pauses, failover, emptying a node.

    .venv/bin/python -m benchmarks.moving [--runs 5]

The guest of the migrations has 512 MiB, writes to its disk all the time, and counts aloud every few
milliseconds; its pause is the longest time between two counts, by the clock of the machine, on
the console logs of both nodes together. The nodes are three of a local cluster: what they
send to each other goes in TLS over the loopback interface. A guest that KVM does not run
is emulated, and counts and dirties its memory as fast as that allows.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, command, run, spread
from benchmarks.local_cluster import LocalCluster, local
from tests.contract.hypervisors import boot_sector

PAUSE = 150.0
PAUSE_LOCAL = 300.0
FAILOVER = 1000.0
EVACUATE = 20.0
GUESTS = 20
_SETTLE = 2.0
"""Seconds of counting before and after."""
_LOOK = 0.001
_TICK = re.compile(rb"T\d+\r")
_WORK = (
    "i=0; (while :; do dd if=/dev/urandom of=/busy bs=64k count=256 2>/dev/null; done) & "
    'while :; do i=$((i+1)); echo "T$i"; usleep 4000; done\n'
)


class Ear:
    """Listens to the console logs of a guest, and notes when something was counted."""

    def __init__(self, logs: list[Path]) -> None:
        self._logs = logs
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.heard: list[float] = []

    def __enter__(self) -> Ear:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def longest(self) -> float:
        """Milliseconds between two counts, at most."""
        return 1000 * max(b - a for a, b in zip(self.heard, self.heard[1:], strict=False))

    def _listen(self) -> None:
        with contextlib.ExitStack() as opened:
            files = {}
            for log in self._logs:
                log.parent.mkdir(parents=True, exist_ok=True)
                log.touch(mode=0o600)
                files[log] = opened.enter_context(log.open("rb", buffering=0))
                files[log].seek(0, os.SEEK_END)
            while not self._ended.wait(_LOOK):
                now = time.monotonic()
                for file in files.values():
                    if _TICK.search(file.read() or b""):
                        self.heard.append(now)


def logs(where: LocalCluster, name: str) -> list[Path]:
    """Of the guest's console, on all nodes."""
    return [
        where.layout.root(node) / f"var/log/gantry/console/{name}.log" for node in where.about.nodes
    ]


@contextlib.contextmanager
def busy(where: LocalCluster, name: str, template: str, size: str) -> Iterator[None]:
    """A guest of 512 MiB that writes and counts; gone afterwards."""
    gnt = where.program("gnt-instance")
    node = where.about.nodes[0].name
    argv = [gnt, "add", "-t", template, "-s", size, "-o", "busybox", "-B", "memory=512M"]
    command([*argv, "--no-nics", "-n", node, name], where.environment)
    try:
        _until(logs(where, name)[0], "~#", 120)
        console = subprocess.Popen(
            [gnt, "console", name],
            env=where.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert console.stdin is not None
        console.stdin.write(b"\n" + _WORK.encode())
        console.stdin.flush()
        _until(logs(where, name)[0], "T50\n", 120)
        console.terminate()
        console.wait()
        yield
    finally:
        command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)


def _until(log: Path, text: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not (log.exists() and text in log.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"{log} does not say {text!r}"
        time.sleep(0.1)


def pauses(
    where: LocalCluster, template: str, size: str, runs: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of each migration, and of as long a time before it in which nothing moves."""
    name, found, before = f"busy-{template}.gantry.test", list[float](), list[float]()
    gnt = where.program("gnt-instance")
    with busy(where, name, template, size):
        for turn in range(runs):
            target = where.about.nodes[(turn + 1) % 2].name
            with Ear(logs(where, name)) as ear:
                time.sleep(3 * _SETTLE)
            before.append(ear.longest)
            with Ear(logs(where, name)) as ear:
                time.sleep(_SETTLE)
                # Of an emulated guest it is not the default; see the page on moving.
                how = ["migrate", "-f", "--migration-mode=live", "-n", target, name]
                command([gnt, *how], where.environment)
                time.sleep(_SETTLE)
            found.append(ear.longest)
    return found, before


def failovers(where: LocalCluster, runs: int) -> list[float]:
    """Milliseconds from the command to the running guest, of one that is down and to be up.

    Its node has just ended it: what remains is all but the guest's own shutdown and boot.
    """
    gnt, found = where.program("gnt-instance"), list[float]()
    name = "failover.gantry.test"
    argv = [gnt, "add", "-t", "sharedfile", "-s", "1M", "--no-install", "-B", "memory=32M"]
    command([*argv, "--no-nics", "-n", where.about.nodes[0].name, name],
            where.environment)  # fmt: skip
    try:
        for turn in range(runs):
            command([gnt, "start", name], where.environment)
            command([gnt, "stop", "--no-remember", "--force", name], where.environment)
            target = where.about.nodes[(turn + 1) % 2].name
            began = time.monotonic()
            command([gnt, "failover", "-f", "--shutdown-timeout=0", "-n", target, name],
                    where.environment)  # fmt: skip
            found.append(1000 * (time.monotonic() - began))
    finally:
        command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)
    return found


def small(where: LocalCluster, name: str) -> None:
    """A running guest of 32 MiB that boots in a tenth of a second, and is idle."""
    gnt = where.program("gnt-instance")
    argv = [gnt, "add", "-t", "sharedfile", "-s", "1M", "--no-install", "--no-start"]
    argv += ["-B", "memory=32M", "--no-nics", "-n", where.about.nodes[0].name, name]
    command(argv, where.environment)
    [disk] = where.layout.shared.glob(f"{name}/*.disk0")
    boot_sector.write(disk)
    command([gnt, "start", name], where.environment)


def evacuations(where: LocalCluster, runs: int) -> list[float]:
    """Seconds until a node with running guests is empty."""
    gnt, node = where.program("gnt-instance"), where.program("gnt-node")
    names = [f"small{number}.gantry.test" for number in range(GUESTS)]
    first = where.about.nodes[0].name
    found = list[float]()
    try:
        for name in names:
            small(where, name)
        for _ in range(runs):
            began = time.monotonic()
            command([node, "evacuate", "-f", "-p", first], where.environment)
            found.append(time.monotonic() - began)
            for other in where.about.nodes[1:]:
                command([node, "migrate", "-f", "-n", first, other.name], where.environment)
    finally:
        for name in names:
            command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)
    return found


@contextlib.contextmanager
def cluster() -> Iterator[LocalCluster]:
    """Three nodes with the real hypervisor, a kernel for guests, and no supervision."""
    with tempfile.TemporaryDirectory(prefix="gantry-", dir="/tmp") as name:
        directory = Path(name)
        try:
            local(directory, "up", "--nodes", "3", "--hypervisors", "kvm")
            where = LocalCluster(directory)
            # What is down is not started again behind our back.
            modify = [where.program("gnt-cluster"), "modify", "--maintain-node-health", "no"]
            command(modify, where.environment)
            yield where
        finally:
            local(directory, "down")


def measure(runs: int) -> list[Figure]:
    """All rows."""
    with cluster() as where:
        shared = pauses(where, "sharedfile", "64M", runs)
        own = pauses(where, "file", "1G", runs)
        failed = failovers(where, runs)
        emptied = evacuations(where, max(1, runs // 2))
    return [
        _row("live migration, 512 MiB guest that writes, shared disk: its longest pause",
             shared[0], "ms", PAUSE, shared[1]),
        _row("the same with a local disk of 1 GiB, which goes with it",
             own[0], "ms", PAUSE_LOCAL, own[1]),
        _row("failover of a stopped instance, command to running", failed, "ms", FAILOVER),
        _row(f"`gnt-node evacuate` of {GUESTS} small running guests", emptied, "s", EVACUATE),
    ]  # fmt: skip


def _row(
    what: str, values: list[float], unit: str, target: float, still: list[float] | None = None
) -> Figure:
    value, best = spread(values)
    reference = f"without moving {spread(still)[0]:.0f} ms" if still else ""
    return Figure(what=what, value=value, best=best, unit=unit, target=target, reference=reference)


if __name__ == "__main__":
    run(measure, __doc__, 5)
