"""Exports of a guest that writes all the time: how long it is paused, and what an increment moves.

    .venv/bin/python -m benchmarks.increments [--runs 3]

A real guest (Debian's kernel, busybox) writes 4 KiB past its cache, says a dot on its console,
and begins anew; the longest time between two dots is its pause, whatever the reason. Its reference
is the longest one while nothing is exported. Moved bytes are what the loopback interface counts, so
on a machine on which others use it they are too many.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.backups import DATA, MIB, Node, fill, moved, stored
from benchmarks.figures import Figure, command, run, say
from benchmarks.local_cluster import LocalCluster, cluster

NAME = "busy.gantry.test"
SIZE = 10240
"""MiB of the disk."""
CHANGED = 100
"""MiB that are written over, in pieces of one."""
MOVED = 1.2
"""Of what has changed."""
PAUSE = 1000.0
INIT = f"""#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
modprobe -a virtio_pci virtio_blk
(while :; do
  for place in 1 2 3 4 5 6 7 8; do
    dd if=/dev/zero of=/dev/vda bs=4k count=1 seek=$place oflag=direct conv=notrunc 2>/dev/null
    echo -n .
  done
done) > /dev/ttyS0 &
while read -r first; do
  piece=0
  while [ $piece -lt {CHANGED} ]; do
    dd if=/dev/urandom of=/dev/vda bs=1M count=1 seek=$((first + 100 * piece)) \\
      oflag=direct conv=notrunc 2>/dev/null
    piece=$((piece + 1))
  done
  echo "written from $first on" > /dev/ttyS0
done < /dev/ttyS0
"""


def kernel(directory: Path) -> tuple[Path, Path]:
    """Kernel and initrd; a second archive behind the usual one has our first program."""
    cache = Path.home() / ".cache/gantry/guest-kernel"
    script = Path(__file__).resolve().parents[1] / "packaging/guest-kernel"
    subprocess.run([script, cache], check=True, capture_output=True)
    init = directory / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    packed = subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"],
        input=b"init", cwd=directory, check=True, capture_output=True,
    ).stdout  # fmt: skip
    base = (cache / "initrd.img").read_bytes()
    (directory / "initrd.img").write_bytes(base + bytes(-len(base) % 512) + packed)
    return cache / "vmlinuz", directory / "initrd.img"


class Guest:
    """A running one, and its console."""

    def __init__(self, where: LocalCluster, node: Node) -> None:
        self._log = node.root / f"var/log/gantry/console/{NAME}.log"
        argv = [where.program("gnt-instance"), "console", NAME]
        self._console = subprocess.Popen(
            argv,
            env=where.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._until(lambda: self._log.exists() and b"...." in self._log.read_bytes())

    def rewrite(self, first: int) -> None:
        """Write over the pieces from that MiB on."""
        assert self._console.stdin is not None
        self._console.stdin.write(f"{first}\n".encode())
        self._console.stdin.flush()
        self._until(lambda: f"written from {first} on".encode() in self._log.read_bytes())

    @contextlib.contextmanager
    def watched(self, longest: list[float]) -> Iterator[None]:
        """Adds the longest time between two dots, in milliseconds."""
        over = threading.Event()
        found = 0.0

        def look() -> None:
            nonlocal found
            size, last = self._log.stat().st_size, time.perf_counter()
            while not over.wait(0.002):
                now = time.perf_counter()
                if self._log.stat().st_size != size:
                    size, last = self._log.stat().st_size, now
                found = max(found, 1000 * (now - last))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            longest.append(found)

    def close(self) -> None:
        """Let go of the console."""
        self._console.kill()
        self._console.wait()

    def _until(self, so: Callable[[], bool]) -> None:
        for _ in range(6000):
            if so():
                return
            assert self._console.poll() is None, "the console is gone"
            time.sleep(0.02)
        raise AssertionError("the guest does not do it within two minutes")


def started(where: LocalCluster, node: Node) -> Guest:
    """The guest, with data in its disk."""
    vmlinuz, initrd = kernel(where.layout.directory)
    instance = where.program("gnt-instance")
    add = f"add -t file -s {SIZE}M --no-install --no-start -B memory=160M -n {node.name} -H"
    parameters = f"kvm:kernel_path={vmlinuz},initrd_path={initrd},root_path=,kernel_args=quiet"
    command([instance, *add.split(), parameters, NAME], where.environment)
    for piece in range(10):
        fill(node.disk(NAME), DATA // 10, at=piece * 1000 + 7)
    command([instance, "start", NAME], where.environment)
    return Guest(where, node)


def measure(runs: int) -> list[Figure]:
    """All rows."""
    quiet: list[float] = []
    full: list[float] = []
    incremental: list[float] = []
    sent: list[float] = []
    kept: list[float] = []
    with cluster(nodes=2, hypervisors="kvm,fake") as where:
        source, target = Node(where, 0), Node(where, 1)
        say("the guest boots")
        export = [where.program("gnt-backup"), "export", "-n", target.name]
        place = target.root / "var/lib/ganeti/export"
        guest = started(where, source)
        try:
            for turn in range(runs):
                say(f"full export {turn + 1} of {runs} beside the guest")
                with guest.watched(full):
                    command([*export, "--noshutdown", NAME], where.environment)
            say("first point of a chain; for its checksum all of the disk is read")
            command([*export, "--incremental", NAME], where.environment)
            for turn in range(runs):
                say(f"the guest writes {CHANGED} MiB, increment {turn + 1} of {runs}")
                guest.rewrite(50 + turn % 40)
                with guest.watched(quiet):
                    time.sleep(2)
                before, there = moved(), stored(place)
                with guest.watched(incremental):
                    command([*export, "--incremental", NAME], where.environment)
                sent.append((moved() - before) / (CHANGED * MIB))
                kept.append((stored(place) - there) / (CHANGED * MIB))
        finally:
            guest.close()
            stop = [where.program("gnt-instance"), "stop", "--timeout=0", NAME]
            command(stop, where.environment)
    what = f"incremental export after {CHANGED} MiB were written over in a running guest's disk"
    return [
        *(
            Figure(
                what=f"{what} of 10 GiB: bytes {how}",
                value=statistics.median(values),
                best=min(values),
                unit="of what changed",
                target=MOVED,
            )
            for how, values in (("moved", sent), ("stored", kept))
        ),
        *(
            Figure(
                what=f"longest pause of a guest that writes all the time, {how}",
                value=max(values),
                best=min(values),
                unit="ms",
                target=PAUSE,
                reference=f"without an export: {max(quiet):.0f} ms",
                remark="the longest of all runs",
            )
            for how, values in (
                ("`gnt-backup export --noshutdown`", full),
                ("`gnt-backup export --incremental`", incremental),
            )
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__, 3)
