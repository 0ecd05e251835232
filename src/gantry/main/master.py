"""The active master: built out of its parts, run until it is told to end or another one is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from gantry.agent import configuration as agent_configuration
from gantry.api.app import build
from gantry.api.events import Bell
from gantry.api.serve import Server
from gantry.api.users import Users
from gantry.history.hook_runs import open_hook_runs
from gantry.history.store import SqliteHistory, open_history
from gantry.host import hook_policy, memory
from gantry.host.clock import SystemClock
from gantry.host.listing import DIRECTORY
from gantry.jobs.journal import HandedOver, Lost, MasterNoMore
from gantry.jobs.queue import Engine
from gantry.jobs.recovery import read_snapshot
from gantry.main import handover, standing
from gantry.main.bell import BeginAnew, replace_process
from gantry.main.bootstrap import MASTER, MasterConfiguration, node_uuid
from gantry.main.candidates import Candidates
from gantry.main.chores import chores
from gantry.main.copies import OFTEN, SELDOM, Sender, keep_candidates
from gantry.main.credentials import certificates_hold, files_of
from gantry.main.daemon import save_memory, say_ready
from gantry.main.elected import Elected
from gantry.main.outbox import FileOutbox
from gantry.main.services import MasterServices
from gantry.main.store import open_store, put_away
from gantry.model import timeouts
from gantry.model.errors import GantryError, Reason, Rejected, Superseded
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.ports.agents import Address
from gantry.ports.store import Store
from gantry.rpc.certificates import api_context
from gantry.rpc.client import HttpAgents
from gantry.supervision.hook_points import HookPoints
from gantry.supervision.hook_runs import HookRuns, RecordedAgents
from gantry.supervision.states import ObservingAgents, States
from gantry.supervision.supervisor import Supervisor

logger = logging.getLogger("gantry.master")

SOCKET: Final = "run/gantry/master.sock"
HISTORY: Final = "var/lib/gantry/history.db"
HOOK_INDEX: Final = "var/lib/gantry/hook-index.db"
USERS: Final = "etc/gantry/users"
_TURNS: Final = 3
"""Of the event loop, after which it has heard of every signal that had come."""
_SWITCH_INTERVAL: Final = 0.0001
"""With Python's default a busy event loop would starve the store's writer thread."""


def run(root: Path, ready: int | None) -> int:
    """Be what the node's state says; the exit status. It may replace the process."""
    return asyncio.run(serve(root, ready, None))


async def serve(root: Path, ready: int | None, elected: Elected | None) -> int:
    """Be the master until told to end, or until another one is: then the process begins anew."""
    save_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        master = await _opened(root, stack, ended, elected, ready)
        if master is None:
            await stack.aclose()
            return await _give(root, ended, ready)
        gc.freeze()
        memory.give_back()
        logger.info("ready cluster=%s epoch=%d", master.name, master.epoch)
        say_ready(ready)
        why = await _until_over(master, ended, elected)
        if isinstance(why, HandedOver):
            await _leave(master, elected, ended)
            await stack.aclose()
            return await _give(root, ended, None)
        if isinstance(why, MasterNoMore) or (why is not None and elected is not None):
            logger.error("not the master any more: %s", why)
            await begin_anew(ended)
        logger.info("ending")
    if master.destroyed:
        put_away(root, int(time.time()))
    if why is not None:
        logger.error("not the master any more: %s", why)
        sys.stderr.write(f"gantry master: {why}\n")
        return 1
    return 0


async def _opened(
    root: Path,
    stack: contextlib.AsyncExitStack,
    ended: asyncio.Event,
    elected: Elected | None,
    ready: int | None,
) -> Master | None:
    """The master; None where the state is to be given to another node.

    Where another node is the master, or the election was lost again, the process begins anew.
    """
    try:
        return await _open(root, stack, ended.set, elected)
    except HandedOver:
        return None
    except (BeginAnew, GantryError, Lost) as error:
        if elected is None and not isinstance(error, BeginAnew):
            raise
        logger.warning("does not become the master: %s", error)
        await begin_anew(ended, ready)


async def begin_anew(ended: asyncio.Event, ready: int | None = None) -> NoReturn:
    """Replace the process; one that was told to end meanwhile ends instead (SystemExit)."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if ended.is_set():
        logger.info("ending")
        raise SystemExit(0)
    replace_process(ready)


async def _leave(master: Master, elected: Elected | None, ended: asyncio.Event) -> None:
    """Another node is the master by a job of this one; where it was elected that is all."""
    await master.leave()
    if elected is not None:
        await elected.give_up()
        await begin_anew(ended)


async def _until_over(
    master: Master, ended: asyncio.Event, elected: Elected | None
) -> GantryError | None:
    """Until the process is told to end (None), or may not be the master any more."""
    loop = asyncio.get_running_loop()
    failing = loop.create_task(master.engine.failed())
    waiting = loop.create_task(ended.wait())
    kept = [elected.keeping] if elected else []
    done, _ = await asyncio.wait([failing, waiting, *kept], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    failing.cancel()
    [why, _] = await asyncio.gather(failing, waiting, return_exceptions=True)
    if isinstance(why, GantryError):
        return why
    if any(task in done for task in kept):
        return MasterNoMore("this master's lease is over", "another one takes over")
    return None


async def _give(root: Path, ended: asyncio.Event, ready: int | None) -> int:
    """Give the state to the node that it says is the master; then begin anew."""
    clock = SystemClock()
    configuration = agent_configuration.read(root)
    files = files_of(root, certificates.MASTER)
    agents = HttpAgents(files, configuration.cluster, configuration.node)
    work = handover.give(root, configuration.node, agents, clock)
    giving = asyncio.get_running_loop().create_task(work)
    waiting = asyncio.get_running_loop().create_task(ended.wait())
    await asyncio.wait([giving, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if giving.done():
        giving.result()
        await begin_anew(ended, ready)
    giving.cancel()
    await asyncio.gather(giving, waiting, return_exceptions=True)
    await agents.close()
    return 0


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


async def _open(
    root: Path,
    stack: contextlib.AsyncExitStack,
    end: Callable[[], None],
    elected: Elected | None,
) -> Master:
    """Take the mastership, read everything back, go on with all jobs, serve."""
    clock = SystemClock()
    certificates_hold(root, clock.now())
    store = elected.store if elected else await open_store(root)
    stack.push_async_callback(store.close)
    history = await open_history(root / HISTORY)
    stack.push_async_callback(history.close)
    before = await read_snapshot(store)
    here = node_uuid(root)
    _exists(before)
    if elected is None and here != before.cluster.master_node:
        raise HandedOver(f"node {before.master.name} is the master")
    agents = HttpAgents(files_of(root, certificates.MASTER), before.cluster.uuid, here)
    stack.push_async_callback(agents.close)
    return await _assemble(root, stack, end, (store, history, agents, clock), before, elected)


async def _assemble(
    root: Path,
    stack: contextlib.AsyncExitStack,
    end: Callable[[], None],
    parts: tuple[Store, SqliteHistory, HttpAgents, SystemClock],
    before: Snapshot,
    elected: Elected | None,
) -> Master:
    """From the mastership on."""
    store, history, agents, clock = parts
    here = node_uuid(root)
    mastership = await standing.mastership(root, store, agents, clock, before, elected)
    configuration = _configuration(root, before)
    runs = await _hook_runs(root, stack, configuration, agents, clock)
    bell = Bell()
    holder = _Holder(bell)
    states = States(holder, clock)
    points = HookPoints(bell.ring)
    recorded = ObservingAgents(RecordedAgents(agents, runs), states, points)
    engine = await Engine.open(
        store,
        recorded,
        clock,
        mastership,
        history,
        hook_policy=partial(hook_policy.read, root / DIRECTORY),
    )
    holder.engine = engine
    stack.push_async_callback(engine.stop)
    candidates = Candidates(root, here, engine, agents, clock, mastership)
    came = _greeting(engine, agents, candidates, runs, mastership.epoch)
    supervisor = Supervisor(engine, agents, states, clock, came)
    stack.push_async_callback(supervisor.close)
    engine.on_change(supervisor.refresh)
    engine.on_change(bell.ring)
    engine.on_change(candidates.refresh)
    engine.on_job(_told(engine, bell, end))
    # Jobs that waited are checked against what the nodes say, so these speak first.
    await supervisor.listen(mastership.announced, timeouts.CONNECT)
    await engine.start()
    supervisor.start()
    await standing.tell(engine)
    server = await _serve_api(
        root, stack, configuration, bell, (engine, agents, states, runs, clock, points), end
    )
    sender = Sender(agents, clock, mastership.epoch, mastership.lease_left)
    often = OFTEN if elected is None else SELDOM
    _beside(stack, keep_candidates(root, engine, sender, here, often), "copies")
    _beside(stack, candidates.follow(), "candidates")
    _beside(stack, chores(engine, root, store, runs), "chores")
    return Master(engine, server, mastership.epoch)


def _greeting(
    engine: Engine, agents: HttpAgents, candidates: Candidates, runs: HookRuns, epoch: int
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
    root: Path,
    stack: contextlib.AsyncExitStack,
    configuration: MasterConfiguration,
    bell: Bell,
    parts: tuple[Engine, HttpAgents, States, HookRuns, SystemClock, HookPoints],
    end: Callable[[], None],
) -> Server:
    engine, agents, states, runs, clock, points = parts
    api = f"{_bracketed(configuration.api_host)}:{configuration.api_port}"
    services = MasterServices(root, engine, agents, states, runs, clock, api, end)
    server = await Server.start(
        build(engine, services, Users(root / USERS), bell, points, FileOutbox(root)),
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
    root: Path,
    stack: contextlib.AsyncExitStack,
    configuration: MasterConfiguration,
    agents: HttpAgents,
    clock: SystemClock,
) -> HookRuns:
    index = await open_hook_runs(root / HOOK_INDEX)
    stack.push_async_callback(index.close)
    runs = HookRuns(index, agents, clock, configuration.hook_records)
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


def _exists(cluster: Snapshot) -> None:
    if cluster.cluster.destroyed:
        raise Rejected(
            "this cluster was destroyed", "make a new one: gnt-cluster init", reason=Reason.STATE
        )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
