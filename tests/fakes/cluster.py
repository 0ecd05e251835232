"""A small cluster in memory: entities, fake agents, a store, and masters to come and go."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from tests.fakes.agents import FakeAgents
from tests.fakes.clock import FakeClock
from tests.fakes.history import FakeHistory
from tests.fakes.world import FakeNode, World

from gantry.hooks.policy import NONE, Policy
from gantry.jobs import election, recovery
from gantry.jobs.election import Mastership
from gantry.jobs.journal import HandedOver
from gantry.jobs.queue import Engine
from gantry.model.codec import encode
from gantry.model.entities import (
    AnyEntity,
    Cluster,
    Group,
    HypervisorName,
    Instance,
    Node,
    key,
)
from gantry.model.errors import GantryError, Unavailable
from gantry.model.jobs import Job, Submission
from gantry.model.live import NodeLive
from gantry.model.names import JobId, Uuid
from gantry.ports.agents import Address, Agents
from gantry.ports.store import Put, Store
from gantry.store.memory import MemoryStore

GROUP = Uuid("00000000-0000-4000-8000-000000000001")
CLUSTER = Uuid("00000000-0000-4000-8000-000000000002")


def node_uuid(number: int) -> Uuid:
    """Of node ``number``, from 1."""
    return Uuid(f"00000000-0000-4000-8000-0000000001{number:02d}")


def instance_uuid(number: int) -> Uuid:
    """Of instance ``number``."""
    return Uuid(f"00000000-0000-4000-8000-{number:012d}")


def instance(number: int, node: int = 1, **changes: Any) -> Instance:
    """Instance ``web<number>``, diskless and down."""
    fields: dict[str, Any] = {
        "uuid": instance_uuid(number),
        "name": f"web{number}.example.com",
        "primary_node": node_uuid(node),
        "hypervisor": HypervisorName.FAKE,
        "os": "noop",
        **changes,
    }
    return Instance(**fields)


def entities(nodes: int = 3, **cluster: Any) -> list[AnyEntity]:
    """The cluster, its group and nodes."""
    fields: dict[str, Any] = {
        "uuid": CLUSTER,
        "name": "cluster.example.com",
        "master_node": node_uuid(1),
        "enabled_hypervisors": (HypervisorName.FAKE,),
        "name_check": False,
        "ip_check": False,
        **cluster,
    }
    made: list[AnyEntity] = [Cluster(**fields), Group(uuid=GROUP, name="default")]
    for number in range(1, nodes + 1):
        made.append(
            Node(
                uuid=node_uuid(number),
                name=f"node{number}.example.com",
                primary_ip=f"127.1.0.{number}",
                secondary_ip=f"127.1.0.{number}",
                group=GROUP,
            )
        )
    return made


class FakeCluster:
    """Masters share the store, the world and the clock; ``engine`` is the present one."""

    def __init__(self, store: Store, agents: FakeAgents, clock: FakeClock) -> None:
        self.store = store
        self.agents = agents
        self.world = agents.world
        self.clock = clock
        self.history = FakeHistory()
        self.masters: list[Engine] = []
        self.mastership: Mastership | None = None
        self.hook_policy: Callable[[], Policy] = lambda: NONE
        """What the master node's ``hooks.toml`` says."""
        self._requests = itertools.count(1)
        self._silence: list[Callable[[], None]] = []
        self._following: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @classmethod
    async def make(
        cls,
        more: Sequence[AnyEntity] = (),
        *,
        nodes: int = 3,
        store: Store | None = None,
        **cluster: Any,
    ) -> FakeCluster:
        """A cluster of ``nodes`` with the objects ``more``; no master yet."""
        world = World()
        for number in range(1, nodes + 1):
            world.add(FakeNode(node_uuid(number), f"node{number}.example.com"))
        store = store or MemoryStore()
        for entity in [*entities(nodes, **cluster), *more]:
            await store.txn([], [Put(key(entity), encode(entity))])
        clock = FakeClock()
        return cls(store, FakeAgents(world, now=clock.monotonic), clock)

    @property
    def engine(self) -> Engine:
        """The present master."""
        return self.masters[-1]

    @property
    def only_job(self) -> JobId:
        """The number of the only job."""
        [job] = self.engine.jobs()
        return job.id

    async def start(
        self,
        store: Store | None = None,
        agents: Agents | None = None,
        lease_left: Callable[[], float] = election.always,
        elected: bool = False,
    ) -> Engine:
        """A new master begins."""
        addresses = [self.agents.address(node) for node in self.world.nodes.values()]
        here = (await recovery.read_snapshot(self.store)).cluster.master_node
        self.agents.master = here
        self.mastership = await election.stand(self.store, self.agents, self.clock, here, addresses)
        self.mastership = msgspec.structs.replace(
            self.mastership, lease_left=lease_left, elected=elected
        )
        engine = await Engine.open(
            store or self.store,
            agents or self.agents,
            self.clock,
            self.mastership,
            self.history,
            hook_policy=lambda: self.hook_policy(),
        )
        for silence in self._silence:
            silence()
        self._silence = [self._watch(engine, node) for node in self.world.nodes.values()]
        self.masters.append(engine)
        await engine.start()
        self._following = asyncio.create_task(self._follow(engine))
        return engine

    async def _follow(self, engine: Engine) -> None:
        """Where a job makes another node the master, the next one stands there."""
        try:
            await engine.failed()
        except HandedOver:
            await engine.abandon()
            await self.start()
        except GantryError:
            return
        self._changed.set()

    def _watch(self, engine: Engine, node: FakeNode) -> Callable[[], None]:
        """Keep the engine's live state of ``node`` right, as supervision would."""

        def look() -> None:
            live = NodeLive(
                reachable=node.uuid not in self.agents.unreachable,
                facts=node.facts(),
                guests={guest.uuid: guest for guest in node.live},
            )
            engine.set_live(node.uuid, live)

        look()
        return node.listen(lambda event: look())

    async def crash(self) -> None:
        """The master is gone from one moment to the next: nothing of it runs any more."""
        await self._unfollow()
        await self.engine.abandon()

    async def _unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
            self._following = None

    async def close(self) -> None:
        """End everything."""
        await self._unfollow()
        for engine in self.masters:
            await engine.abandon()
        await self.agents.close()
        await self.store.close()

    def address(self, number: int) -> Address:
        """Of node ``number``."""
        return self.agents.address(self.world.nodes[node_uuid(number)])

    def submission(self, *ops: dict[str, Any], **fields: Any) -> Submission:
        """With a request id of its own."""
        fields.setdefault("request_id", f"request-{next(self._requests)}")
        return Submission(ops=ops, **fields)

    async def submit(self, *ops: dict[str, Any], **fields: Any) -> JobId:
        """To the present master."""
        return await self.engine.submit(self.submission(*ops, **fields), internal=True)

    async def run(self, *ops: dict[str, Any], **fields: Any) -> Job:
        """Submit, and wait for the end."""
        job = await self.submit(*ops, **fields)
        async with asyncio.timeout(100):
            return await self.ended(job)

    async def ended(self, job: JobId) -> Job:
        """The job when it has ended, also where another master had to take over for that."""
        while True:
            self._changed.clear()
            try:
                return await self.engine.wait(job)
            except Unavailable:
                # Only where the mastership was handed over does another one come by itself.
                await self._changed.wait()

    async def keys(self, *prefixes: str) -> list[str]:
        """What the store holds below the prefixes."""
        found: list[str] = []
        for prefix in prefixes or ("",):
            found += [item.key for item in (await self.store.range(prefix)).items]
        return found

    async def configuration(self) -> dict[str, bytes]:
        """All entities as the store has them."""
        found: dict[str, bytes] = {}
        for prefix in (
            "cluster",
            "groups/",
            "nodes/",
            "instances/",
            "mirrors/",
            "tokens/",
            "joined/",
            "bundles/",
            "rollouts/",
            "webhooks/",
        ):
            found |= {item.key: item.value for item in (await self.store.range(prefix)).items}
        return found


def opcodes(jobs: Iterable[Job]) -> list[str]:
    """What jobs did, for messages."""
    return [record.input["OP_ID"] for job in jobs for record in job.ops]
