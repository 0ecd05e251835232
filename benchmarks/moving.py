"""Moving instances between nodes: pauses, failover, emptying a node.

    .venv/bin/python -m benchmarks.moving [--runs 5]

Three machines in network namespaces of their own (needs root). The guest of the migrations has
512 MiB, writes all the time, and counts aloud every few milliseconds; its pause is the longest
time between two counts, by the clock of the machine, on the console logs of both nodes together.
What counts is one process that stays: to start a program anew for each count takes an emulated
guest some 20 ms, and 100 ms right after it has moved, when nothing of it is translated yet. A
guest that KVM does not run is emulated, and counts and dirties its memory as fast as that allows;
QEMU may crash it on its way (docs/adr/0014): such runs are made again, and told.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, command, run, spread
from benchmarks.machines import Machines, machines
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
    "mkfifo /t; exec 3<>/t; "
    "i=0; (while :; do dd if=/dev/urandom of=/busy bs=64k count=256 2>/dev/null; done) & "
    'while :; do i=$((i+1)); echo "T$i"; read -t 0.004 x <&3; done\n'
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


@contextlib.contextmanager
def busy(where: Machines, name: str, template: str, size: str) -> Iterator[None]:
    """A guest of 512 MiB that writes and counts; gone afterwards."""
    gnt = where.program("gnt-instance")
    node = where.nodes[0].name
    if template == "mirror":
        node += f":{where.nodes[1].name}"
    argv = [gnt, "add", "-t", template, "-s", size, "-o", "busybox", "-B", "memory=512M"]
    command([*argv, "--no-nics", "-n", node, name], where.environment)
    try:
        _until(where.logs(name)[0], "~#", 120)
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
        _until(where.logs(name)[0], "T50\n", 120)
        console.terminate()
        console.wait()
        if template == "mirror":
            _in_sync(where, name)
        yield
    finally:
        command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)


def _in_sync(where: Machines, name: str) -> None:
    """Until its replicas are; after an installation they are copied by the first start."""
    deadline = time.monotonic() + 120
    argv = [where.program("gnt-instance"), "list", "--no-headers", "-o", "disk.redundancy", name]
    while "in-sync" not in subprocess.check_output(argv, env=where.environment, text=True):
        assert time.monotonic() < deadline, f"{name} does not come to be in sync"
        time.sleep(0.2)


def _until(log: Path, text: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while not (log.exists() and text in log.read_text(errors="replace")):
        assert time.monotonic() < deadline, f"{log} does not say {text!r}"
        time.sleep(0.1)


class Pauses:
    """Milliseconds of each migration, and of as long a time before it in which nothing moves."""

    def __init__(self) -> None:
        self.moved: list[float] = []
        self.still: list[float] = []
        self.crashed = 0
        """Migrations after which the guest counted no more."""

    def turn(self, where: Machines, name: str, target: str) -> bool:
        """One migration; False where the guest did not survive it."""
        with Ear(where.logs(name)) as ear:
            time.sleep(3 * _SETTLE)
        still = ear.longest
        with Ear(where.logs(name)) as ear:
            time.sleep(_SETTLE)
            # Of an emulated guest it is not the default; see the page on moving.
            argv = [where.program("gnt-instance"), "migrate", "-f", "--migration-mode=live"]
            command([*argv, "-n", target, name], where.environment)
            moved = time.monotonic()
            time.sleep(_SETTLE)
        if ear.heard[-1] < moved + _SETTLE / 2:
            self.crashed += 1
            return False
        self.moved.append(ear.longest)
        self.still.append(still)
        return True


def pauses(where: Machines, template: str, size: str, runs: int) -> Pauses:
    """So many migrations between two nodes, there and back."""
    name, found = f"busy-{template}.gantry.test", Pauses()
    while len(found.moved) < runs:
        assert found.crashed <= runs, "guests crash more often than not"
        with busy(where, name, template, size):
            for turn in range(runs - len(found.moved)):
                if not found.turn(where, name, where.nodes[(turn + 1) % 2].name):
                    break
    return found


def failovers(where: Machines, runs: int) -> list[float]:
    """Milliseconds from the command to the running guest, of one that is down and to be up.

    Its node has just ended it: what remains is all but the guest's own shutdown and boot.
    """
    gnt, found = where.program("gnt-instance"), list[float]()
    name = "failover.gantry.test"
    argv = [gnt, "add", "-t", "sharedfile", "-s", "1M", "--no-install", "-B", "memory=32M"]
    command([*argv, "--no-nics", "-n", where.nodes[0].name, name],
            where.environment)  # fmt: skip
    try:
        for turn in range(runs):
            command([gnt, "start", name], where.environment)
            command([gnt, "stop", "--no-remember", "--force", name], where.environment)
            target = where.nodes[(turn + 1) % 2].name
            began = time.monotonic()
            command([gnt, "failover", "-f", "--shutdown-timeout=0", "-n", target, name],
                    where.environment)  # fmt: skip
            found.append(1000 * (time.monotonic() - began))
    finally:
        command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)
    return found


def small(where: Machines, name: str) -> None:
    """A running guest of 32 MiB that boots in a tenth of a second, and is idle."""
    gnt = where.program("gnt-instance")
    argv = [gnt, "add", "-t", "sharedfile", "-s", "1M", "--no-install", "--no-start"]
    argv += ["-B", "memory=32M", "--no-nics", "-n", where.nodes[0].name, name]
    command(argv, where.environment)
    [disk] = where.shared.glob(f"{name}/*.disk0")
    boot_sector.write(disk)
    command([gnt, "start", name], where.environment)


def evacuations(where: Machines, runs: int) -> list[float]:
    """Seconds until a node with running guests is empty."""
    gnt, node = where.program("gnt-instance"), where.program("gnt-node")
    names = [f"small{number}.gantry.test" for number in range(GUESTS)]
    first = where.nodes[0].name
    found = list[float]()
    try:
        for name in names:
            small(where, name)
        for _ in range(runs):
            began = time.monotonic()
            command([node, "evacuate", "-f", "-p", first], where.environment)
            found.append(time.monotonic() - began)
            for other in where.nodes[1:]:
                command([node, "migrate", "-f", "-n", first, other.name], where.environment)
    finally:
        for name in names:
            command([gnt, "remove", "-f", "--shutdown-timeout=0", name], where.environment)
    return found


def measure(runs: int) -> list[Figure]:
    """All rows."""
    with machines(3) as where:
        # What is down is not started again behind our back.
        modify = [where.program("gnt-cluster"), "modify", "--maintain-node-health", "no"]
        modify += ["--enabled-disk-templates", "file,sharedfile,diskless,mirror"]
        command(modify, where.environment)
        shared = pauses(where, "sharedfile", "64M", runs)
        own = pauses(where, "file", "1G", runs)
        mirrored = pauses(where, "mirror", "64M", runs)
        failed = failovers(where, runs)
        emptied = evacuations(where, max(1, runs // 2))
    return [
        _row("live migration, 512 MiB guest that writes, shared disk: its longest pause",
             shared.moved, "ms", PAUSE, shared),
        _row("the same with a mirrored disk", mirrored.moved, "ms", PAUSE, mirrored),
        _row("the same with a local disk of 1 GiB, which goes with it",
             own.moved, "ms", PAUSE_LOCAL, own),
        _row("failover of a stopped instance, command to running", failed, "ms", FAILOVER),
        _row(f"`gnt-node evacuate` of {GUESTS} small running guests", emptied, "s", EVACUATE),
    ]  # fmt: skip


def _row(
    what: str, values: list[float], unit: str, target: float, about: Pauses | None = None
) -> Figure:
    value, best = spread(values)
    reference = remark = ""
    if about is not None:
        reference = f"without moving {spread(about.still)[0]:.0f} ms"
        remark = f"`--migration-mode=live`; {about.crashed} guests crashed on their way"
    return Figure(
        what=what,
        value=value,
        best=best,
        unit=unit,
        target=target,
        reference=reference,
        remark=remark,
    )


if __name__ == "__main__":
    run(measure, __doc__, 5)
