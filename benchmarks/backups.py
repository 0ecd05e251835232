"""Exports and imports between two nodes of a local cluster: rate, and bytes moved and stored.

    .venv/bin/python -m benchmarks.backups [--runs 5]

The rate is that of the whole command ``gnt-backup export`` of a raw disk of random bytes. Its
reference is dd through TLS: ``dd | socat | socat | dd`` with the nodes' own certificates, whose
file is synced as well. Moved bytes are what the loopback interface counts, so on a machine on
which others use it they are too many.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import LocalCluster, cluster

from gantry.model.identity import node_host

MIB = 1024 * 1024
RATE = 70.0
"""Per cent of the reference's."""
SPARSE = 1.1
"""Of the data."""
SIZE = 1024
"""MiB of the full disk."""
DATA = 200
"""MiB of data in the sparse one."""
_LISTENS = re.compile(r"listening on .*:(\d+)$", re.MULTILINE)


class Node:
    """One node's files."""

    def __init__(self, where: LocalCluster, index: int) -> None:
        about = where.about.nodes[index]
        self.root = where.layout.root(about)
        self.name = about.name
        agent = json.loads((self.root / "etc/gantry/agent.json").read_bytes())
        pki = self.root / "etc/gantry/pki"
        self.address = str(agent["host"])
        self.host = node_host(agent["cluster"], agent["node"])
        self.tls = f"cert={pki}/node.pem,key={pki}/node.key,cafile={pki}/ca.pem,verify=1"

    def disk(self, name: str) -> Path:
        """The disk of an instance."""
        [found] = self.root.glob(f"srv/ganeti/file-storage/{name}/*.disk0")
        return found


def add(where: LocalCluster, node: Node, name: str, size: int) -> Path:
    """An instance without an OS, down; its disk."""
    argv = [where.program("gnt-instance"), "add", "-t", "file", "-s", f"{size}M", "--no-install"]
    command([*argv, "--no-start", "-B", "memory=32M", "-n", node.name, name], where.environment)
    return node.disk(name)


def fill(disk: Path, count: int, at: int = 0) -> None:
    """``count`` MiB of random bytes, from the ``at``-th MiB on."""
    with disk.open("r+b") as file:
        file.seek(at * MIB)
        for _ in range(count):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


def through_tls(source: Node, target: Node, disk: Path, size: int) -> float:
    """Milliseconds that dd through TLS takes."""
    out, said = target.root / "reference", target.root / "reference.log"
    for path in (out, said):
        path.unlink(missing_ok=True)
    listen = (
        f"socat -d -d -b1048576 -u OPENSSL-LISTEN:0,bind={target.address},{target.tls},"
        f"commonname={source.host} stdout 2>{said} | dd bs=1M of={out} conv=fsync status=none"
    )
    server = subprocess.Popen(["/bin/sh", "-c", listen], start_new_session=True)
    try:
        return _called(server, source, target, disk, said)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        assert out.stat().st_size == size * MIB


def _called(
    server: subprocess.Popen[bytes], source: Node, target: Node, disk: Path, said: Path
) -> float:
    """Milliseconds from the call to the end of both."""
    port = ""
    while not port:
        assert server.poll() is None, said.read_text()
        found = _LISTENS.search(said.read_text()) if said.exists() else None
        port = found[1] if found else ""
        time.sleep(0.01)
    began = time.perf_counter()
    call = f"OPENSSL:{target.address}:{port},{source.tls},commonname={target.host}"
    subprocess.run(
        ["/bin/sh", "-c", f"dd bs=1M if={disk} status=none | socat -b1048576 stdio {call}"],
        check=True,
    )
    assert server.wait() == 0
    return 1000 * (time.perf_counter() - began)


def moved() -> int:
    """Bytes that the loopback interface has carried."""
    [line] = [one for one in Path("/proc/net/dev").read_text().splitlines() if "lo:" in one]
    return int(line.partition(":")[2].split()[0])


def stored(path: Path) -> int:
    """Bytes that the files take."""
    return sum(one.stat().st_blocks * 512 for one in path.rglob("*") if one.is_file())


def measure(runs: int) -> list[Figure]:
    """All rows."""
    with cluster(nodes=2) as where:
        source, target = Node(where, 0), Node(where, 1)
        return [*_rate(where, source, target, runs), *_sparse(where, source, target)]


def _rate(where: LocalCluster, source: Node, target: Node, runs: int) -> list[Figure]:
    disk = add(where, source, "full.gantry.test", SIZE)
    fill(disk, SIZE)
    export = [where.program("gnt-backup"), "export", "-n", target.name, "full.gantry.test"]
    exported, reference = in_turn(
        runs,
        lambda: command(export, where.environment),
        lambda: through_tls(source, target, disk, SIZE),
    )
    ours, best = spread(exported)
    theirs, least = spread(reference)
    shutil.rmtree(target.root / "var/lib/ganeti/export")
    return [
        Figure(
            what=f"`gnt-backup export` of a raw disk of {SIZE} MiB, of the rate of dd through TLS",
            value=100 * theirs / ours,
            best=100 * least / best,
            unit="%",
            target=RATE,
            at_least=True,
            reference=f"dd through TLS: {SIZE * 1000 / theirs:.0f} MiB/s",
            remark=f"{SIZE * 1000 / ours:.0f} MiB/s, the whole command",
        )
    ]


def _sparse(where: LocalCluster, source: Node, target: Node) -> list[Figure]:
    disk = add(where, source, "sparse.gantry.test", 10240)
    for piece in range(10):
        fill(disk, DATA // 10, at=piece * 1000 + 7)
    before = moved()
    command(
        [where.program("gnt-backup"), "export", "-n", target.name, "sparse.gantry.test"],
        where.environment,
    )
    sent, kept = moved() - before, stored(target.root / "var/lib/ganeti/export")
    before = moved()
    argv = [where.program("gnt-backup"), "import", "-n", source.name, "--src-node", target.name]
    command([*argv, "--src-dir", "sparse.gantry.test", "again.gantry.test"], where.environment)
    fetched, there = moved() - before, stored(source.disk("again.gantry.test").parent)
    data = DATA * MIB
    return [
        Figure(
            what=f"{what} of a raw disk of 10 GiB with {DATA} MiB of data: bytes {how}",
            value=value / data,
            unit="of the data",
            target=SPARSE,
        )
        for what, how, value in (
            ("export", "moved", sent),
            ("export", "stored", kept),
            ("import", "moved", fetched),
            ("import", "stored", there),
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 5)
