"""From ``gnt-instance add`` to a guest that runs: OS ``debian``, kept, and ``cloud-image``.

    .venv/bin/python -m benchmarks.os_create [--runs 5]

As root. The disk has 2 GiB, the hypervisor is kvm; the guest's own boot does not count. The first
run builds a Debian, which takes minutes and is kept in ~/.cache for the next time; it also is the
image for clouds, as compressed qcow2. The reference copies the same data with ``cp``.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.figures import Figure, command, in_turn, number, run, spread
from benchmarks.local_cluster import LocalCluster, local

TARGET = 3.0
_KEPT = Path.home() / ".cache/gantry/benchmark-os"
_OS = {"debian": "debian+bookworm", "cloud-image": "cloud-image"}


def _set_up(where: LocalCluster) -> None:
    """What is kept does not go into the system's own place."""
    for name in _OS:
        settings = where.root / "srv/ganeti/os" / name / "settings"
        settings.write_text(f"CACHE={_KEPT}/{name}\n")
    with (where.root / "srv/ganeti/os/cloud-image/settings").open("a") as file:
        file.write(f"IMAGES={where.layout.directory}\n")


def _image(where: LocalCluster, names: Iterator[str]) -> Path:
    """A Debian's disk as an image; the first time it is built."""
    name = next(names)
    _gnt(where, "gnt-instance", *_add("debian", name, "1G"), "--no-start")
    (disk,) = (where.root / "srv/ganeti/file-storage" / name).iterdir()
    image = where.layout.directory / "image.qcow2"
    convert = ["qemu-img", "convert", "-c", "-O", "qcow2", str(disk), str(image)]
    subprocess.run(convert, check=True)
    _gnt(where, "gnt-instance", "remove", "-f", name)
    return image


def _gnt(where: LocalCluster, program: str, *words: str) -> float:
    return command([where.program(program), *words], where.environment) / 1000


def _add(os: str, name: str, size: str = "2G") -> list[str]:
    begin = ["add", "-t", "file", "-s", size, "-o", _OS[os], "-n", "node1"]
    return [*begin, "-B", "memory=256M", "--net", "0:mode=user", name]


def _creations(where: LocalCluster, os: str, names: Iterator[str]) -> Callable[[], float]:
    def create() -> float:
        name = next(names)
        took = _gnt(where, "gnt-instance", *_add(os, name))
        _gnt(where, "gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
        return took

    return create


def measure(runs: int) -> list[Figure]:
    """Seconds of the whole command; the guest runs when it ends."""
    with tempfile.TemporaryDirectory(prefix="gantry-", dir="/tmp") as temporary:
        directory = Path(temporary)
        try:
            local(directory, "up", "--nodes", "1", "--hypervisors", "kvm", "--no-kernel")
            return _measured(LocalCluster(directory), runs)
        finally:
            local(directory, "down")


def _measured(where: LocalCluster, runs: int) -> list[Figure]:
    _set_up(where)
    names = (f"web{number}.gantry.test" for number in itertools.count(1))
    image = _image(where, names)
    _gnt(where, "gnt-os", "modify", "-O", f"image={image}", "cloud-image")
    cloud = _creations(where, "cloud-image", names)
    first = cloud()
    (raw,) = (_KEPT / "debian").glob("*.raw")
    copy = where.layout.directory / "copy"
    creations = (_creations(where, "debian", names), cloud)
    debian, clouds, copied = in_turn(
        runs, *creations, lambda: command(["cp", "--sparse=always", str(raw), str(copy)]) / 1000
    )
    bare, least = spread(copied)
    reference = f"`cp` of the same data {bare:.2f} s (best {least:.2f})"
    remark = f"the very first, which unpacks the qcow2: {number(first)} s"
    return [
        _figure("debian+bookworm, system kept", debian, reference, ""),
        _figure("cloud-image, image on the node", clouds, reference, remark),
    ]


def _figure(what: str, taken: list[float], reference: str, remark: str) -> Figure:
    value, best = spread(taken)
    return Figure(
        what=f"`gnt-instance add` to running, 2 GiB, {what}",
        value=value,
        best=best,
        unit="s",
        target=TARGET,
        reference=reference,
        remark=remark,
    )


if __name__ == "__main__":
    run(measure, __doc__, 5)
