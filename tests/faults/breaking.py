"""Running a situation while something breaks, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from tests.fakes.agents import Call
from tests.fakes.cluster import FakeCluster
from tests.faults.mirrored import keeps_its_promise
from tests.faults.situation import Situation, Unsure

from gantry.model.entities import ReplicaState
from gantry.model.jobs import Job, JobStatus
from gantry.model.names import JobId
from gantry.model.orders import GuestSpec
from gantry.ports.store import Compare, Operation, Store
from gantry.store.memory import MemoryStore


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster from outside: the configuration without times, and the nodes."""

    configuration: dict[str, Any]
    nodes: dict[str, Any]


class Clean(msgspec.Struct, frozen=True, kw_only=True):
    """A situation when nothing breaks. ``orders`` are the names of all, in their order."""

    before: Seen
    after: Seen
    orders: tuple[str, ...]
    commits: int
    waves: int
    status: JobStatus
    unsure: tuple[Seen, ...] = ()
    mirrored: bool = False
    """What there may be instead of ``before`` where it failed."""


class BreakingStore(MemoryStore):
    """At transaction ``at`` (from 0) the master is gone, before or after it was applied."""

    def __init__(self) -> None:
        super().__init__()
        self.at: int | None = None
        self.applied = False
        self.crashed = asyncio.Event()
        self.seen = 0

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """See the port."""
        # As with a real store the caller is not the only one who runs meanwhile.
        await asyncio.sleep(0)
        number, self.seen = self.seen, self.seen + 1
        if number != self.at:
            return await super().txn(compare, ops)
        if self.applied:
            await super().txn(compare, ops)
        self.crashed.set()
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never


def order_name(call: Call) -> str:
    """An order's name without the job's random id and without attempts."""
    parts = call.envelope.key.split("/")[1:]
    return "/".join(part for part in parts if not _random(part)) + "@" + call.node.name


def is_effect(name: str) -> bool:
    """Whether it is a step of the operation itself."""
    return name.startswith("0/") and not any(
        word in name for word in ("hooks-", "/undo/", "/debris", "ssconf")
    )


def is_owed(name: str) -> bool:
    """Whether the final commit made it due."""
    return "/debris" in name


async def make(situation: Situation, *, store: Store | None = None) -> FakeCluster:
    """The situation, with its first master."""
    cluster = await FakeCluster.make(situation.objects, nodes=situation.nodes, store=store)
    situation.prepare(cluster)
    await cluster.start()
    await cluster.engine.settle()
    return cluster


async def look(cluster: FakeCluster) -> Seen:
    """What counts of the cluster now."""
    configuration = {
        key: _timeless(json.loads(value)["data"])
        for key, value in (await cluster.configuration()).items()
    }
    nodes: dict[str, Any] = {}
    for name, state in cluster.world.state().items():
        # What the files say follows from the configuration, a little later.
        nodes[name] = {key: value for key, value in state.items() if key != "files"}
    return Seen(configuration=configuration, nodes=nodes)


async def clean(situation: Situation) -> Clean:
    """Run it undisturbed."""
    cluster = await make(situation)
    try:
        before, calls = await look(cluster), len(cluster.agents.calls)
        engine = cluster.engine
        commits = engine.awaited_commits
        job = await cluster.run(situation.op, secrets=situation.secrets)
        awaited = engine.awaited_commits - commits
        await cluster.engine.settle()
        assert job.status is JobStatus.SUCCESS, job.ops[0].error
        orders = tuple(dict.fromkeys(order_name(call) for call in cluster.agents.calls[calls:]))
        await nothing_left(cluster)
        after = await look(cluster)
        return Clean(
            before=before,
            after=after,
            unsure=_UNSURE[situation.unsure](before, after) if situation.unsure else (),
            orders=orders,
            commits=awaited,
            waves=sum(1 for name in orders if is_effect(name)),
            status=job.status,
            mirrored=situation.mirrored,
        )
    finally:
        await cluster.close()


def _machines(before: Seen, after: Seen) -> tuple[Seen, ...]:
    """Each one is off or not; a record says off only of one that is."""
    [through] = [name for name, state in after.nodes.items() if state["unpowered"]]
    changed = {
        data["name"]: key
        for key, data in after.configuration.items()
        if data != before.configuration[key]
    }
    found = []
    for off in _subsets(after.nodes[through]["unpowered"]):
        nodes = {**before.nodes, through: {**before.nodes[through], "unpowered": sorted(off)}}
        for known in _subsets(off):
            told = {changed[name]: after.configuration[changed[name]] for name in known}
            found.append(Seen(configuration={**before.configuration, **told}, nodes=nodes))
    return tuple(found)


def _subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    sizes = range(len(names) + 1)
    return [one for size in sizes for one in itertools.combinations(names, size)]


def _disks(before: Seen, after: Seen) -> tuple[Seen, ...]:
    """The script has done its work or has not; the instance is marked, as the intended one."""
    marked = {
        key: {**data, "tags": sorted({*data.get("tags", ()), "gantry:install-failed"})}
        if key.startswith("instances/")
        else data
        for key, data in after.configuration.items()
    }
    return (
        Seen(configuration=marked, nodes=before.nodes),
        Seen(configuration=marked, nodes=after.nodes),
    )


def _nodes(before: Seen, after: Seen) -> tuple[Seen, ...]:
    """What was done on nodes is done, and nothing says so."""
    return (Seen(configuration=before.configuration, nodes=after.nodes),)


_UNSURE = {Unsure.DISKS: _disks, Unsure.NODES: _nodes, Unsure.MACHINES: _machines}


async def next_master(cluster: FakeCluster) -> None:
    """The present master is gone; another one goes on, undisturbed."""
    await cluster.crash()
    cluster.agents.fault = lambda call: None
    if isinstance(cluster.store, BreakingStore):
        cluster.store.at = None
    await cluster.start()


async def ended(cluster: FakeCluster) -> Job | None:
    """The only job when it has ended; None where none was accepted."""
    jobs = cluster.engine.jobs()
    if not jobs:
        return None
    async with asyncio.timeout(100):
        job = await cluster.ended(jobs[0].id)
        await cluster.engine.settle()
    return job


async def check(cluster: FakeCluster, job: Job | None, expected: Clean) -> None:
    """The world is as intended or as before, as the job says, and never between."""
    now = await look(cluster)
    if expected.mirrored:
        keeps_its_promise(cluster)
        _check_mirrored(now, job, expected)
    elif job is not None and job.status is JobStatus.SUCCESS:
        assert now == expected.after
    else:
        assert now in (expected.before, *expected.unsure), job and job.ops[0].error
    await nothing_left(cluster)


def _check_mirrored(now: Seen, job: Job | None, expected: Clean) -> None:
    """The same but for replicas, of which something else holds: see ``keeps_its_promise``.

    A guest that was stopped may be left down where its job failed: it is started again with its
    replicas by supervision, which is not here. And what was promoted stays so.
    """
    shown = _without_replicas(now)
    if job is not None and job.status is JobStatus.SUCCESS:
        intended = _without_replicas(expected.after)
        assert shown.configuration == intended.configuration
        assert _firm(shown, now) == _firm(intended, now)
        return
    allowed = [_without_replicas(one) for one in (expected.before, expected.after)]
    unsure = [_without_replicas(one) for one in expected.unsure]
    assert shown.configuration in [one.configuration for one in (*allowed, *unsure)]
    for name, state in shown.nodes.items():
        states = [one.nodes[name] for one in (*allowed, *unsure)]
        loose = _loose(now, name)
        wanted = [_without_guests(one, loose) for one in states]
        assert _without_guests(state, loose) in wanted, job and job.ops[0].error
        guests = [one["guests"] for one in states]
        assert state["guests"] in (*guests, {}), job and job.ops[0].error


def _without_replicas(seen: Seen) -> Seen:
    """What a replica beside the primary's holds, and which it is, is left out."""
    configuration = {
        key: {"replicas": sorted(data["replicas"])} if key.startswith("mirrors/") else data
        for key, data in seen.configuration.items()
    }
    homes = {
        (disk["path"], seen.configuration[f"nodes/{data['primary_node']}"]["name"])
        for key, data in seen.configuration.items()
        if key.startswith("instances/")
        for disk in data.get("disks", ())
    }
    nodes = {}
    for name, state in seen.nodes.items():
        guests = {uuid: (_untargeted(spec), live) for uuid, (spec, live) in state["guests"].items()}
        disks = {
            path: disk if (path, name) in homes else disk[1:3]
            for path, disk in state["disks"].items()
        }
        nodes[name] = {**state, "guests": guests, "disks": disks}
        nodes[name].pop("replicas", None)
        nodes[name].pop("active disks", None)
    return Seen(configuration=configuration, nodes=nodes)


def _untargeted(spec: GuestSpec) -> GuestSpec:
    disks = tuple(msgspec.structs.replace(disk, targets=()) for disk in spec.disks)
    return msgspec.structs.replace(spec, disks=disks)


def _loose(now: Seen, name: str) -> set[str]:
    """Files on that node that may be anything, even gone: all of it is copied before it counts."""
    nodes = {
        key.removeprefix("nodes/"): data["name"]
        for key, data in now.configuration.items()
        if key.startswith("nodes/")
    }
    behind = {
        data["uuid"]
        for key, data in now.configuration.items()
        if key.startswith("mirrors/")
        for node, replica in data["replicas"].items()
        if nodes[node] == name and replica["state"] != ReplicaState.IN_SYNC
    }
    return {
        disk["path"]
        for key, data in now.configuration.items()
        if key.startswith("instances/")
        for disk in data.get("disks", ())
        if disk["uuid"] in behind
    }


def _firm(seen: Seen, now: Seen) -> dict[str, Any]:
    """The nodes without files that may be anything ``now``."""
    return {
        name: {
            **state,
            "disks": {
                path: disk for path, disk in state["disks"].items() if path not in _loose(now, name)
            },
        }
        for name, state in seen.nodes.items()
    }


def _without_guests(state: dict[str, Any], loose: set[str]) -> dict[str, Any]:
    """What is on disks; their content is compared elsewhere."""
    disks = {path: disk[:3] for path, disk in state["disks"].items() if path not in loose}
    return {key: value for key, value in state.items() if key != "guests"} | {"disks": disks}


async def nothing_left(cluster: FakeCluster) -> None:
    """No journal, nothing owed, no lock, no reservation; every record says what clients see."""
    await cluster.engine.settle()
    assert await cluster.keys("journal/", "debris/") == []
    assert cluster.engine.idle
    for job in cluster.engine.jobs():
        assert job.status.ended
        item = await cluster.store.get(f"jobs/{job.id:010d}")
        assert item is not None
        assert json.loads(item.value)["job"]["status"] == job.status
    snapshot = cluster.engine.snapshot()
    assert (snapshot.claims, snapshot.reserved) == ((), frozenset())
    assert snapshot.doubtful == frozenset()
    assert cluster.world.twice == []


async def begin(cluster: FakeCluster, situation: Situation) -> asyncio.Task[JobId]:
    """Submit without waiting for the acknowledgement, which may never come."""
    return asyncio.create_task(cluster.submit(situation.op, secrets=situation.secrets))


async def until_crash_or_end(cluster: FakeCluster, *crashes: asyncio.Event) -> bool:
    """Whether the master met its crash; False when the job ended before that."""

    async def end() -> None:
        # The task that submits was made first, so the job is there when this one runs.
        await asyncio.sleep(0)
        await cluster.ended(cluster.engine.jobs()[0].id)
        await cluster.engine.settle()

    waits = [asyncio.create_task(event.wait()) for event in crashes]
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(end()), *waits]
    async with asyncio.timeout(100):
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return any(event.is_set() for event in crashes)


def _timeless(value: dict[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in ("ctime", "mtime")}


def _random(part: str) -> bool:
    return len(part) == 12 and all(letter in "0123456789abcdef" for letter in part)
