"""A soak: parallel clients do everything for a long time; nothing may grow that should not.

    .venv/bin/python -m tests.long.soak [--minutes 30] [--simulated-nodes 20] [--clients 12]

In rounds. In each the clients work on instances of their own; then all of it is removed, and
when the cluster is idle memory, descriptors, threads, processes, files and what the store holds
are counted. The first third of the rounds is for warming up: caches, and the 5,000 ended jobs
that a master keeps. What is left is compared: the middle third with the last.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
from benchmarks.local_cluster import LocalCluster, cluster, resident
from tests.support.cluster import processes_below

from gantry.agent.configuration import DATABASE
from gantry.client.connection import Connection
from gantry.jobs.codec import DEBRIS, JOBS, JOURNAL, LOGS
from gantry.main.store import STATE

ROUNDS = 9
JOB = 8 * 1024
"""Bytes that a master may keep of an ended job."""
MEMORY = 0.05
"""The part by which the memory of a process may differ between the thirds, of what it has."""
SOCKETS = 0.25
"""The same of its sockets: connections are kept for five minutes, more or fewer of them."""
SMALLEST = 4.0
"""MiB that it may differ in any case."""
HOOKS = {
    "instance-add-pre.d/10-fine": "exit 0",
    "instance-start-post.d/10-says": 'echo "$GANETI_INSTANCE_NAME"',
    "instance-modify-post.d/10-fails": "echo no; exit 1",
    "node-modify-pre.d/10-data": 'test -s "$GANETI_DATA_DIR/ssconf_node_list"',
}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted when all was quiet; memory is MiB by process."""

    jobs: int
    """Ended jobs that the master keeps."""
    memory: dict[str, float]
    descriptors: dict[str, int]
    """Open ones that are no sockets."""
    sockets: dict[str, int]
    threads: dict[str, int]
    processes: int
    files: int
    journal: int
    """Keys in the store that belong to jobs under way."""
    keys: int
    """All others, but for jobs and their logs."""
    effects: int
    """Effects and scripts that agents remember, until the master says that they need not."""


class Outcome(msgspec.Struct, kw_only=True):
    """What the clients saw."""

    jobs: int = 0
    statuses: dict[str, int] = {}
    faults: list[str] = []
    """Errors that are no user's: a fault in Gantry."""


class Client:
    """One of many, over the API's socket."""

    def __init__(self, where: LocalCluster, number: int, seed: str, outcome: Outcome) -> None:
        self._where = where
        self._chance = random.Random(f"{seed}/{number}")
        self._outcome = outcome
        self._names = [f"soak{number}-{letter}.gantry.test" for letter in "abc"]
        self._nodes = [node.name for node in (*where.about.nodes, *where.about.simulated)]

    async def work(self, until: float) -> None:
        """Until that time (monotonic); then its instances are gone."""
        while time.monotonic() < until:
            if self._chance.random() < 0.2:
                await self._look()
            else:
                await self._job(self._operation(), cancel=self._chance.random() < 0.03)
        for name in self._names:
            await self._job({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name})

    def _operation(self) -> dict[str, Any]:
        name, node = self._chance.choice(self._names), self._chance.choice(self._nodes)
        one = {"instance_name": name}
        add = {
            "OP_ID": "OP_INSTANCE_CREATE",
            "mode": "create",
            "disk_template": self._chance.choice(["diskless", "file"]),
            "nics": [{}],
            "os_type": "noop",
            "beparams": {"maxmem": 16, "minmem": 16},
            **one,
        }
        add["disks"] = [{"size": 1}] if add["disk_template"] == "file" else []
        tags = {"kind": "instance", "name": name, "tags": [f"tag{self._chance.randrange(4)}"]}
        vcpus = self._chance.randrange(1, 9)
        return self._chance.choice(
            [
                add,
                add,
                {"OP_ID": "OP_INSTANCE_STARTUP", **one},
                {"OP_ID": "OP_INSTANCE_SHUTDOWN", **one},
                {"OP_ID": "OP_INSTANCE_REBOOT", **one},
                {"OP_ID": "OP_INSTANCE_SET_PARAMS", "beparams": {"vcpus": vcpus}, **one},
                {"OP_ID": "OP_INSTANCE_REMOVE", **one},
                {"OP_ID": "OP_TAGS_SET", **tags},
                {"OP_ID": "OP_TAGS_DEL", **tags},
                {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node, "vm_capable": True},
                {"OP_ID": "OP_TEST_DELAY", "duration": 0.1, "on_nodes": [node]},
                {"OP_ID": "OP_CLUSTER_VERIFY"},
            ]
        )

    async def _job(self, operation: dict[str, Any], *, cancel: bool = False) -> None:
        body = {"ops": [operation], "request_id": f"{self._chance.getrandbits(128):032x}"}
        job = await self._ask(lambda api: api.post("jobs", body)["job"])
        if job is None:
            return
        if cancel:
            await self._ask(lambda api: api.post(f"jobs/{job}/cancel", {"kill": True}))
        ended = await self._ask(lambda api: api.get(f"jobs/{job}/wait"))
        self._outcome.jobs += 1
        status = str(ended["status"]) if ended else "refused"
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        for op in ended["ops"] if ended else ():
            error = op.get("error") or {}
            if error.get("reason") == "internal_error" or "fault" in error.get("message", ""):
                self._outcome.faults.append(f"{operation['OP_ID']}: {error}")

    async def _look(self) -> None:
        path = self._chance.choice(["query/instance", "query/node", "query/job", "info"])
        await self._ask(lambda api: api.get(path))

    async def _ask(self, ask: Callable[[Connection], Any]) -> Any:
        """What the API answers, None where it refuses: much of what is tried cannot be done."""
        from gantry.client.errors import ApiError

        def asked() -> Any:
            try:
                return ask(Connection(str(self._where.root)))
            except ApiError:
                return None

        return await asyncio.to_thread(asked)


def put_hooks(where: LocalCluster, hooks: Mapping[str, str]) -> None:
    """Scripts on every node."""
    for node in (*where.about.nodes, *where.about.simulated):
        for name, text in hooks.items():
            file = where.layout.root(node) / "etc/ganeti/hooks" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#!/bin/sh\n{text}\n")
            file.chmod(0o755)


async def work(
    where: LocalCluster, clients: int, seconds: float, seed: str, outcome: Outcome
) -> None:
    """One round. With the seed of another one its requests would count as repeated."""
    until = time.monotonic() + seconds
    async with asyncio.timeout(seconds + 300):
        await asyncio.gather(
            *(Client(where, number, seed, outcome).work(until) for number in range(clients))
        )


def keys(where: LocalCluster) -> list[str]:
    """All keys in the store."""
    database = apsw.Connection(str(where.root / STATE), flags=apsw.SQLITE_OPEN_READONLY)
    with contextlib.closing(database):
        return [str(key) for (key,) in database.execute("SELECT key FROM items")]


def left(where: LocalCluster) -> int:
    """Keys in the store that belong to jobs under way."""
    return sum(key.startswith((JOURNAL, DEBRIS)) for key in keys(where))


def effects(where: LocalCluster) -> int:
    """What all agents remember together; a copy is read, since they lock their files."""
    count = 0
    for node in (*where.about.nodes, *where.about.simulated):
        memory = where.layout.root(node) / DATABASE
        with tempfile.TemporaryDirectory() as directory:
            for file in memory.parent.glob(f"{memory.name}*"):
                shutil.copy(file, directory)
            database = apsw.Connection(str(Path(directory) / memory.name))
            with contextlib.closing(database):
                for table in ("effects", "scripts", "markers"):
                    [(rows,)] = database.execute(f"SELECT count(*) FROM {table}")
                    count += int(str(rows))
    return count


def quiet(where: LocalCluster) -> Sample:
    """Wait until nothing is under way, and count."""
    deadline = time.monotonic() + 60
    # Counted until there are none: what is copied while an agent writes may be an older state.
    while ((remembered := effects(where)) or left(where)) and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(3)
    pids = {"master": where.master}
    pids |= {f"agent{number}": pid for number, pid in enumerate(where.agents, 1)}
    pids |= {f"simulation{number}": pid for number, pid in enumerate(where.crews, 1)}
    listed = Connection(str(where.root)).get("query/job", fields="id")
    opened = {name: _opened(pid) for name, pid in pids.items()}
    return Sample(
        jobs=len(listed["rows"]),
        memory={name: resident(pid) for name, pid in pids.items()},
        descriptors={name: len(found) - found.count(True) for name, found in opened.items()},
        sockets={name: found.count(True) for name, found in opened.items()},
        threads={name: _threads(pid) for name, pid in pids.items()},
        processes=len(processes_below(where.layout.directory)),
        files=sum(1 for path in where.layout.directory.rglob("*") if _counts(path)),
        journal=left(where),
        keys=sum(not key.startswith((JOBS, LOGS, JOURNAL, DEBRIS)) for key in keys(where)),
        effects=remembered,
    )


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _opened(pid: int) -> list[bool]:
    """Of each open descriptor, whether it is a socket."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(one.readlink()).startswith("socket:"))
    return found


def _counts(path: Path) -> bool:
    """Logs are bounded in size and age, and SQLite's own files come and go."""
    return "/var/log/" not in str(path) and not path.name.endswith(("-wal", "-shm", "-journal"))


def _of(what: str, name: str) -> Callable[[Sample], float]:
    """One number of one process."""

    def found(sample: Sample) -> float:
        numbers: dict[str, float] = getattr(sample, what)
        return numbers[name]

    return found


def growths(samples: Sequence[Sample]) -> list[str]:
    """What has grown from the middle third to the last beyond what it may."""
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    found = []

    def compare(what: str, of: Callable[[Sample], float], allowed: float) -> None:
        before, after = (statistics.median(map(of, some)) for some in (middle, last))
        if after > before + allowed:
            found.append(f"{what}: from {before:.1f} to {after:.1f}, {allowed:.1f} more allowed")

    more = max(0, samples[-1].jobs - min(one.jobs for one in middle)) * JOB / 2**20
    for name, size in samples[-1].memory.items():
        kept = more if name == "master" else 0.0
        compare(f"MiB of {name}", _of("memory", name), max(SMALLEST, MEMORY * size) + kept)
        compare(f"descriptors of {name}", _of("descriptors", name), 8)
        sockets = samples[-1].sockets[name]
        compare(f"sockets of {name}", _of("sockets", name), max(8, SOCKETS * sockets))
        compare(f"threads of {name}", _of("threads", name), 4)
    compare("processes", lambda one: one.processes, 0)
    compare("files", lambda one: one.files, 4)
    compare("keys in the store", lambda one: one.keys, 0)
    if samples[-1].effects:
        found.append(f"{samples[-1].effects} effects are remembered by agents")
    if samples[-1].journal:
        found.append(f"{samples[-1].journal} entries of journals are left")
    return found


def soak(
    minutes: float,
    simulated: int,
    clients: int,
    say: Callable[[str], None],
    hooks: Mapping[str, str] = HOOKS,
) -> tuple[list[Sample], Outcome]:
    """Work in rounds; what was counted after each, and what the clients saw."""
    samples: list[Sample] = []
    outcome = Outcome()
    with cluster(nodes=2, simulated=simulated) as where:
        put_hooks(where, hooks)
        for number in range(1, ROUNDS + 1):
            seconds = 60 * minutes / ROUNDS
            asyncio.run(work(where, clients, seconds, f"round {number}", outcome))
            samples.append(quiet(where))
            say(f"round {number}: {outcome.jobs} jobs {outcome.statuses}\n  {samples[-1]}")
    return samples, outcome


def main() -> int:
    """From the command line; exit status 1 where something grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--simulated-nodes", type=int, default=20)
    parser.add_argument("--clients", type=int, default=12)
    given = parser.parse_args()
    samples, outcome = soak(given.minutes, given.simulated_nodes, given.clients, print)
    problems = growths(samples) + outcome.faults[:20]
    print("\n".join(problems) or f"nothing grows: {outcome.jobs} jobs {outcome.statuses}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
