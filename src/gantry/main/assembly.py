"""Putting the active master together out of its parts. What they do is theirs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gantry.api.app import build
from gantry.api.events import Bell
from gantry.api.serve import Server
from gantry.api.users import Users
from gantry.history.hook_runs import open_hook_runs
from gantry.history.store import SqliteHistory
from gantry.host import hook_policy
from gantry.host.clock import SystemClock
from gantry.host.listing import DIRECTORY
from gantry.jobs.election import Mastership
from gantry.jobs.queue import Engine
from gantry.jobs.sure_agents import SureAgents
from gantry.main import standing
from gantry.main.bootstrap import MASTER, MasterConfiguration, node_uuid
from gantry.main.candidates import Candidates
from gantry.main.chores import chores
from gantry.main.copies import OFTEN, SELDOM, Sender, keep_candidates
from gantry.main.credentials import files_of
from gantry.main.elected import Elected
from gantry.main.outbox import FileOutbox
from gantry.main.services import MasterServices
from gantry.model import timeouts
from gantry.model.errors import GantryError, Reason, Rejected, Superseded
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.ports.agents import Address, Agents
from gantry.ports.store import Store
from gantry.rpc.certificates import api_context
from gantry.rpc.client import HttpAgents
from gantry.supervision.hook_points import HookPoints
from gantry.supervision.hook_runs import HookRuns, RecordedAgents
from gantry.supervision.states import ObservingAgents, States
from gantry.supervision.supervisor import Supervisor

SOCKET: Final = "run/gantry/master.sock"
HOOK_INDEX: Final = "var/lib/gantry/hook-index.db"
USERS: Final = "etc/gantry/users"


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What is there before the mastership is taken; ``here`` is this node."""

    root: Path
    here: Uuid
    store: Store
    history: SqliteHistory
    agents: HttpAgents
    clock: SystemClock


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the nodes beside the jobs, and who is told of it."""

    bell: Bell
    states: States
    points: HookPoints
    runs: HookRuns


class Master:
    """The parts, put together; whoever opened it ends them."""

    def __init__(self, engine: Engine, server: Server, epoch: int) -> None:
        self.engine = engine
        self.server = server
        self.epoch = epoch

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.engine.snapshot().cluster.name

    @property
    def destroyed(self) -> bool:
        """Whether ``gnt-cluster destroy`` was the end."""
        return self.engine.snapshot().cluster.destroyed

    async def leave(self) -> None:
        """Do nothing more; whoever waits for an answer is told to look for the new master."""
        await self.engine.abandon()
        await self.server.leave()


class _Holder:
    """Live states go through the engine, which gives nodes that are back what they are owed."""

    def __init__(self, bell: Bell) -> None:
        self.engine: Engine | None = None
        self._bell = bell

    @property
    def _ready(self) -> Engine:
        if self.engine is None:
            raise GantryError("live states came before the job queue was there")
        return self.engine

    @property
    def nodes(self) -> dict[Uuid, NodeLive]:
        """What is known now."""
        return self._ready.live.nodes

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        """What is true on a node from now on."""
        self._ready.set_live(node, live)
        self._bell.ring()

    def forget(self, node: Uuid) -> None:
        """The node is not of the cluster any more."""
        self._ready.live.forget(node)


async def assemble(
    ground: Ground,
    stack: contextlib.AsyncExitStack,
    end: Callable[[], None],
    before: Snapshot,
    elected: Elected | None,
) -> Master:
    """The master, from its mastership on; ``before`` is what the store said before it."""
    root, here, clock = ground.root, ground.here, ground.clock
    mastership = await standing.mastership(
        root, ground.store, ground.agents, clock, before, elected
    )
    agents = _agents(ground, mastership)
    configuration = _configuration(root, before)
    runs = await _hook_runs(ground, stack, configuration)
    bell = Bell()
    holder = _Holder(bell)
    watch = Watch(bell=bell, states=States(holder, clock), points=HookPoints(bell.ring), runs=runs)
    engine = await _engine(ground, agents, watch, mastership)
    holder.engine = engine
    stack.push_async_callback(engine.stop)
    candidates = Candidates(root, here, engine, agents, clock, mastership)
    came = _greeting(engine, agents, candidates, runs, mastership.epoch)
    supervisor = Supervisor(engine, agents, watch.states, clock, came)
    stack.push_async_callback(supervisor.close)
    for told in (supervisor.refresh, bell.ring, candidates.refresh):
        engine.on_change(told)
    engine.on_job(_told(engine, bell, end))
    # Jobs that waited are checked against what the nodes say, so these speak first.
    await supervisor.listen(mastership.announced, timeouts.CONNECT)
    await engine.start()
    supervisor.start()
    await standing.tell(engine)
    server = await _serve_api(ground, stack, configuration, watch, engine, end)
    sender = Sender(agents, clock, mastership.epoch, mastership.lease_left)
    often = OFTEN if elected is None else SELDOM
    _beside(stack, keep_candidates(root, engine, sender, here, often), "copies")
    _beside(stack, candidates.follow(), "candidates")
    _beside(stack, chores(engine, root, ground.store, runs), "chores")
    return Master(engine, server, mastership.epoch)


def _agents(ground: Ground, mastership: Mastership) -> Agents:
    """Where the store says who is master, no agent can say that another one is."""
    if not mastership.elected:
        return ground.agents
    return SureAgents(ground.agents, ground.store, mastership.revision)


async def _engine(ground: Ground, agents: Agents, watch: Watch, mastership: Mastership) -> Engine:
    recorded = RecordedAgents(agents, watch.runs)
    return await Engine.open(
        ground.store,
        ObservingAgents(recorded, watch.states, watch.points),
        ground.clock,
        mastership,
        ground.history,
        hook_policy=partial(hook_policy.read, ground.root / DIRECTORY),
    )


def _greeting(
    engine: Engine, agents: Agents, candidates: Candidates, runs: HookRuns, epoch: int
) -> Callable[[Address], Awaitable[None]]:
    """What a node that is there again is told."""

    async def came(address: Address) -> None:
        try:
            await agents.announce(address, epoch)
        except Superseded as error:
            engine.superseded(error)
            raise
        candidates.came(address.node)
        runs.missed(address)

    return came


def _beside(
    stack: contextlib.AsyncExitStack, work: Coroutine[object, object, None], name: str
) -> None:
    """Do ``work`` until the stack is left."""
    stack.callback(asyncio.create_task(work, name=name).cancel)


async def _serve_api(
    ground: Ground,
    stack: contextlib.AsyncExitStack,
    configuration: MasterConfiguration,
    watch: Watch,
    engine: Engine,
    end: Callable[[], None],
) -> Server:
    root = ground.root
    api = f"{_bracketed(configuration.api_host)}:{configuration.api_port}"
    services = MasterServices(
        root, engine, ground.agents, watch.states, watch.runs, ground.clock, api, end
    )
    users, outbox = Users(root / USERS), FileOutbox(root)
    server = await Server.start(
        build(engine, services, users, watch.bell, watch.points, outbox),
        root / SOCKET,
        tls=api_context(files_of(root, certificates.API)),
        host=configuration.api_host,
        port=configuration.api_port,
    )
    stack.push_async_callback(server.close)
    return server


def _told(engine: Engine, bell: Bell, end: Callable[[], None]) -> Callable[[], None]:
    """What is done whenever a job's status changes."""

    def told() -> None:
        bell.ring()
        if engine.snapshot().cluster.destroyed and all(job.status.ended for job in engine.jobs()):
            # Whoever waits for the job hears of its end first.
            asyncio.get_running_loop().call_later(timeouts.FAREWELL, end)

    return told


async def _hook_runs(
    ground: Ground, stack: contextlib.AsyncExitStack, configuration: MasterConfiguration
) -> HookRuns:
    index = await open_hook_runs(ground.root / HOOK_INDEX)
    stack.push_async_callback(index.close)
    runs = HookRuns(index, ground.agents, ground.clock, configuration.hook_records)
    await runs.open()
    stack.push_async_callback(runs.close)
    return runs


def _configuration(root: Path, cluster: Snapshot) -> MasterConfiguration:
    """Where the API listens: what ``master.json`` says, else the node's address."""
    path = root / MASTER
    try:
        return msgspec.json.decode(path.read_bytes(), type=MasterConfiguration)
    except FileNotFoundError:
        here = cluster.nodes[node_uuid(root)]
        return MasterConfiguration(api_host=here.primary_ip, api_port=cluster.cluster.api_port)
    except (OSError, msgspec.MsgspecError) as error:
        raise Rejected(f"{path} cannot be read: {error}", reason=Reason.ENVIRONMENT) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
