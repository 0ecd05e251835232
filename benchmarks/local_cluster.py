"""A real local cluster for a benchmark: three agents and a master, filled with instances.

Instances are written into the state before the master starts, half of them up with a guest of
the fake hypervisor; the processes are the real ones. Nothing is measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from gantry.host import machine
from gantry.hypervisors import fake_state
from gantry.local import description, etcd, processes
from gantry.local.layout import Layout, Role
from gantry.main import store as stores
from gantry.main.store import STATE
from gantry.model import codec
from gantry.model.entities import AdminState, HypervisorName, Instance, Node, key
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.ports.store import Put
from gantry.store.etcd import wire
from gantry.store.etcd.access import tls

store = description.SQLITE
"""What keeps the state of the clusters that are made here: ``--store`` sets it."""

GANTRY = Path(sys.executable).with_name("gantry")
_TICKS = os.sysconf("SC_CLK_TCK")


class LocalCluster:
    """One that is up; ``root`` is that of the master's node, which may move on etcd."""

    def __init__(self, directory: Path) -> None:
        self.layout = Layout(directory)
        self.about = description.required(directory)

    @property
    def place(self) -> int:
        """Of the master's node among the nodes, as the first of them knows it."""
        told = self.layout.root(self.about.nodes[0]) / "var/lib/ganeti/ssconf_master_node"
        if not told.exists():
            return 0
        return [node.name for node in self.about.nodes].index(told.read_text().strip())

    @property
    def root(self) -> Path:
        """Below which the files of the master's node hang."""
        return self.layout.root(self.about.nodes[self.place])

    @property
    def socket(self) -> Path:
        """Of the master's API."""
        return self.root / "run/gantry/master.sock"

    @property
    def environment(self) -> dict[str, str]:
        """Of commands on that node."""
        return {
            "PATH": f"{self.root}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "GANTRY_ROOT": str(self.root),
            "HOME": os.environ.get("HOME", "/"),
        }

    def program(self, name: str) -> str:
        """The path of one of the cluster's programs."""
        return str(self.root / "bin" / name)

    @property
    def master(self) -> int:
        """The pid of the master."""
        return self._pid(self.place, Role.MASTER)

    @property
    def agents(self) -> list[int]:
        """The pids of the agents."""
        return [self._pid(index, Role.AGENT) for index in range(len(self.about.nodes))]

    @property
    def crews(self) -> list[int]:
        """The pids of the processes with the agents of simulated nodes."""
        found = (processes.find(self.layout, crew, Role.SIMULATE) for crew in self.about.crews)
        return [one.pid for one in found if one is not None]

    @property
    def revision(self) -> int:
        """How many transactions the store has seen; of etcd, requests that changed something."""
        if self.about.store == description.ETCD:
            return _revision(self.root)
        database = apsw.Connection(str(self.root / STATE), flags=apsw.SQLITE_OPEN_READONLY)
        with contextlib.closing(database):
            [(revision,)] = database.execute("SELECT revision FROM state").fetchall()
        return int(str(revision))

    def _pid(self, index: int, role: Role) -> int:
        found = processes.find(self.layout, self.about.nodes[index], role)
        assert found is not None, f"no {role} runs"
        return found.pid


def _revision(root: Path) -> int:
    access = stores.access(root)
    context = tls(access)
    request = urllib.request.Request(access.endpoints[0] + wire.RANGE, data=b'{"key": "AA=="}')
    with urllib.request.urlopen(request, timeout=10, context=context) as response:
        return wire.decode(response.read(), wire.RangeAnswer).header.revision


def cpu(pid: int) -> float:
    """Seconds that the process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> float:
    """MiB of memory that the process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"process {pid} is gone")


def idle(where: LocalCluster, seconds: float) -> float:
    """Percent of a core that the master takes while nobody asks for anything."""
    time.sleep(5)
    before = cpu(where.master)
    time.sleep(seconds)
    return 100 * (cpu(where.master) - before) / seconds


def local(directory: Path, *words: str) -> None:
    """``gantry local``; what it says is shown only where it fails."""
    argv = [str(GANTRY), "local", words[0], "--dir", str(directory), *words[1:]]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@contextlib.contextmanager
def local_cluster(*options: str, nodes: int = 3) -> Iterator[LocalCluster]:
    """A new cluster with the fake hypervisor and further options of ``up``; gone in the end."""
    with tempfile.TemporaryDirectory(prefix="gantry-", dir="/tmp") as name:
        directory = Path(name)
        begin = ["up", "--nodes", str(nodes), "--hypervisors", "fake", "--no-kernel"]
        try:
            local(directory, *begin, *options)
            yield LocalCluster(directory)
        finally:
            local(directory, "down", "--keep-guests")


@contextlib.contextmanager
def cluster(
    instances: int = 0,
    *,
    up: bool = True,
    hypervisors: str = "fake",
    nodes: int = 3,
    simulated: int = 0,
) -> Iterator[LocalCluster]:
    """A cluster of three nodes with ``instances`` (``web1.gantry.test`` …), every other one up
    unless ``up`` is False; gone in the end. Simulated nodes come beside the others.
    """
    with tempfile.TemporaryDirectory(prefix="gantry-", dir="/tmp") as name:
        directory = Path(name)
        begin = ["up", "--nodes", str(nodes), "--hypervisors", hypervisors, "--no-kernel"]
        if simulated:
            begin += ["--simulated-nodes", str(simulated)]
        begin += ["--store", store]
        try:
            local(directory, *begin)
            if instances:
                local(directory, "down")
                asyncio.run(_fill(LocalCluster(directory), instances, up))
                local(directory, "up")
            yield LocalCluster(directory)
        finally:
            local(directory, "down", "--keep-guests")


async def _fill(where: LocalCluster, count: int, up: bool) -> None:
    if where.about.store == description.ETCD:
        await etcd.start(where.layout, where.about)
    opened = await stores.open_store(where.root)
    found = await opened.range("nodes/")
    nodes = sorted(
        (
            one
            for item in found.items
            if isinstance(one := codec.decode(item.key, item.value), Node)
        ),
        key=lambda node: node.name,
    )
    made = [_instance(number, nodes, up) for number in range(1, count + 1)]
    for first in range(0, count, 90):
        puts = [Put(key(one), codec.encode(one)) for one in made[first : first + 90]]
        await opened.txn([], puts)
    await opened.close()
    labels = {label.name: label for label in (*where.about.nodes, *where.about.simulated)}
    roots = {node.uuid: where.layout.root(labels[node.name]) for node in nodes}
    for one in made:
        if one.admin_state is AdminState.UP:
            fake_state.keep(roots[one.primary_node], _guest(one))


def _instance(number: int, nodes: Sequence[Node], up: bool) -> Instance:
    return Instance(
        uuid=Uuid(str(uuid.uuid4())),
        name=f"web{number}.gantry.test",
        primary_node=nodes[number % len(nodes)].uuid,
        hypervisor=HypervisorName.FAKE,
        os="noop",
        beparams={"maxmem": 1, "minmem": 1},
        admin_state=AdminState.UP if up and number % 2 else AdminState.DOWN,
        ctime=time.time(),
        mtime=time.time(),
    )


def _guest(one: Instance) -> fake_state.Kept:
    live = GuestLive(
        uuid=one.uuid,
        name=one.name,
        state=GuestState.RUNNING,
        since=time.time(),
        memory=1,
        vcpus=1,
    )
    return fake_state.Kept(live, machine.boot_id())


class Client:
    """One connection to the master's socket, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, where: LocalCluster) -> Client:
        """Connect."""
        return cls(*await asyncio.open_unix_connection(where.socket, limit=1 << 26))

    async def job(self, operation: dict[str, Any], request: str) -> Any:
        """Submit a job of one operation and wait for its end; the job."""
        body = msgspec.json.encode({"ops": [operation], "request_id": request})
        head = (
            "POST /gantry/1/jobs?wait=1 HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        found = msgspec.json.decode(await self._reader.readexactly(length))
        assert found.get("status") == "success", found
        return found

    def close(self) -> None:
        """Let go."""
        self._writer.close()
