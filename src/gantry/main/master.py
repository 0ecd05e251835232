"""``gantry master``: build the master out of its parts and run it until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gantry.api.app import build
from gantry.api.events import Bell
from gantry.api.serve import Server
from gantry.api.users import Users
from gantry.history.hook_runs import open_hook_runs
from gantry.history.store import open_history
from gantry.host import hook_policy, memory
from gantry.host.clock import SystemClock
from gantry.host.listing import DIRECTORY
from gantry.jobs.election import stand
from gantry.jobs.queue import Engine
from gantry.jobs.recovery import read_snapshot
from gantry.main.bootstrap import MASTER, MasterConfiguration, node_uuid
from gantry.main.candidates import Candidates
from gantry.main.daemon import log_to, save_memory, say_ready
from gantry.main.services import MasterServices
from gantry.main.store import STATE, open_store, put_away
from gantry.model import timeouts
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.ports.agents import Address
from gantry.rpc.certificates import Files, api_context, expired, expiry
from gantry.rpc.client import HttpAgents
from gantry.store import backup
from gantry.supervision.hook_runs import HookRuns, RecordedAgents
from gantry.supervision.states import ObservingAgents, States
from gantry.supervision.supervisor import Supervisor, addresses

logger = logging.getLogger("gantry.master")

SOCKET: Final = "run/gantry/master.sock"
HISTORY: Final = "var/lib/gantry/history.db"
USERS: Final = "etc/gantry/users"
LOG: Final = "var/log/gantry/master.log"
BACKUPS: Final = "backups"
_HOUR: Final = 3600.0
_ARCHIVE_AFTER: Final = 6 * _HOUR
_SWITCH_INTERVAL: Final = 0.0001
"""With Python's default a busy event loop would starve the store's writer thread."""


def main(arguments: Sequence[str]) -> int:
    """The sub-command; the root is ``--root``, else ``GANTRY_ROOT``, else ``/``."""
    parser = argparse.ArgumentParser(
        prog="gantry master",
        description="Run the cluster's master on this node: the one that gnt-cluster init ran on.",
        epilog="example: gantry master --root /",
    )
    parser.add_argument("--root", metavar="DIR", help="the node's root (default: /)")
    parser.add_argument("--ready-fd", type=int, metavar="N", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    root = Path(given.root or os.environ.get("GANTRY_ROOT") or "/").absolute()
    os.umask(0o077)
    os.chdir("/")
    log_to(root / LOG)
    save_memory()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    return asyncio.run(_serve(root, given.ready_fd))


async def _serve(root: Path, ready: int | None) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        master = await _open(root, stack, ended.set)
        gc.freeze()
        memory.give_back()
        logger.info("ready cluster=%s epoch=%d", master.name, master.epoch)
        say_ready(ready)
        failing = loop.create_task(master.engine.failed())
        waiting = loop.create_task(ended.wait())
        await asyncio.wait([failing, waiting], return_when=asyncio.FIRST_COMPLETED)
        logger.info("ending")
        waiting.cancel()
        failing.cancel()
        [why, _] = await asyncio.gather(failing, waiting, return_exceptions=True)
    if master.destroyed:
        put_away(root, int(time.time()))
    if isinstance(why, GantryError):
        logger.error("not the master any more: %s", why)
        sys.stderr.write(f"gantry master: {why}\n")
        return 1
    return 0


class Master:
    """The parts, put together; whoever opened it ends them."""

    def __init__(self, engine: Engine, epoch: int) -> None:
        self.engine = engine
        self.epoch = epoch

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.engine.snapshot().cluster.name

    @property
    def destroyed(self) -> bool:
        """Whether ``gnt-cluster destroy`` was the end."""
        return self.engine.snapshot().cluster.destroyed


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


async def _open(root: Path, stack: contextlib.AsyncExitStack, end: Callable[[], None]) -> Master:
    """Take the mastership, read everything back, go on with all jobs, serve."""
    configuration = _configuration(root)
    clock = SystemClock()
    _certificates_hold(root, clock.now())
    store = await open_store(root, writer=node_uuid(root))
    stack.push_async_callback(store.close)
    history = await open_history(root / HISTORY)
    stack.push_async_callback(history.close)
    before = await read_snapshot(store)
    _may_be_master(root, before)
    agents = HttpAgents(
        _files(root, certificates.MASTER), before.cluster.uuid, before.cluster.master_node
    )
    stack.push_async_callback(agents.close)
    mastership = await stand(
        store, agents, clock, before.cluster.master_node, list(addresses(before))
    )
    runs = await _hook_runs(root, stack, configuration, agents, clock)
    bell = Bell()
    holder = _Holder(bell)
    states = States(holder, clock)
    recorded = ObservingAgents(RecordedAgents(agents, runs), states)
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

    async def came(address: Address) -> None:
        await agents.announce(address, mastership.epoch)
        candidates.came(address.node)
        runs.missed(address)

    here = before.cluster.master_node
    candidates = Candidates(root, here, engine, agents, clock, mastership)
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
    await _serve_api(root, stack, configuration, bell, (engine, agents, states, runs, clock), end)
    _beside(stack, candidates.follow(), "candidates")
    _beside(stack, _chores(engine, root / STATE, runs), "chores")
    return Master(engine, mastership.epoch)


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
    parts: tuple[Engine, HttpAgents, States, HookRuns, SystemClock],
    end: Callable[[], None],
) -> None:
    engine, agents, states, runs, clock = parts
    api = f"{_bracketed(configuration.api_host)}:{configuration.api_port}"
    services = MasterServices(root, root / STATE, engine, agents, states, runs, clock, api, end)
    server = await Server.start(
        build(engine, services, Users(root / USERS), bell),
        root / SOCKET,
        tls=api_context(_files(root, certificates.API)),
        host=configuration.api_host,
        port=configuration.api_port,
    )
    stack.push_async_callback(server.close)


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
    index = await open_hook_runs(root / HISTORY)
    stack.push_async_callback(index.close)
    runs = HookRuns(index, agents, clock, configuration.hook_records)
    await runs.open()
    stack.push_async_callback(runs.close)
    return runs


async def _chores(engine: Engine, state: Path, runs: HookRuns) -> None:
    """Once an hour: put old things away; once a day: copy the state, keep a week of copies."""
    directory = state.parent / BACKUPS
    while True:
        memory.give_back()
        try:
            await engine.auto_archive(_ARCHIVE_AFTER)
            await runs.prune()
            now = datetime.datetime.now(datetime.UTC)
            copies = await asyncio.to_thread(backup.list_backups, directory)
            if state.exists() and backup.is_due(copies, now):
                await asyncio.to_thread(backup.backup, state, directory, now)
                for old in backup.surplus(await asyncio.to_thread(backup.list_backups, directory)):
                    await asyncio.to_thread(backup.remove, old)
        except GantryError as error:
            logger.warning("the daily chores: %s", error)
        await asyncio.sleep(_HOUR)


def _configuration(root: Path) -> MasterConfiguration:
    path = root / MASTER
    try:
        return msgspec.json.decode(path.read_bytes(), type=MasterConfiguration)
    except FileNotFoundError:
        raise Rejected(
            f"no cluster was made on this machine: {path} is not there",
            "gnt-cluster init makes one; the master runs where that was done",
            reason=Reason.ENVIRONMENT,
        ) from None
    except (OSError, msgspec.MsgspecError) as error:
        raise Rejected(f"{path} cannot be read: {error}", reason=Reason.ENVIRONMENT) from error


def _may_be_master(root: Path, cluster: Snapshot) -> None:
    if cluster.cluster.destroyed:
        raise Rejected(
            "this cluster was destroyed", "make a new one: gnt-cluster init", reason=Reason.STATE
        )
    here = node_uuid(root)
    if here != cluster.cluster.master_node:
        raise Rejected(
            f"this node is not the master: {cluster.master.name} is",
            f"start the master on {cluster.master.name}",
            reason=Reason.STATE,
        )


def _certificates_hold(root: Path, now: float) -> None:
    """Rejected where a certificate of the master has ended: no agent would listen to it."""
    for name, whose in (
        (certificates.CA, "the cluster's CA"),
        (certificates.MASTER, "the master"),
        (certificates.API, "the API"),
    ):
        ends = expiry(certificates.certificate(root, name))
        if ends < now:
            raise expired(whose, ends)


def _files(root: Path, name: str) -> Files:
    return Files(
        ca=certificates.certificate(root, certificates.CA),
        certificate=certificates.certificate(root, name),
        key=certificates.key(root, name),
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
