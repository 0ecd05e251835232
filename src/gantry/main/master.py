"""The active master: built out of its parts, run until it is told to end or another one is."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gantry.agent import configuration as agent_configuration
from gantry.history.store import open_history
from gantry.host import memory
from gantry.host.clock import SystemClock
from gantry.jobs.journal import HandedOver, Lost, MasterNoMore
from gantry.jobs.recovery import read_snapshot
from gantry.main import handover
from gantry.main.assembly import Ground, Master, assemble
from gantry.main.beginning_anew import begin_anew
from gantry.main.bell import BeginAnew
from gantry.main.bootstrap import node_uuid
from gantry.main.credentials import certificates_hold, files_of
from gantry.main.daemon import save_memory, say_ready
from gantry.main.elected import Elected
from gantry.main.store import open_store, put_away
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.rpc.client import HttpAgents

logger = logging.getLogger("gantry.master")

HISTORY: Final = "var/lib/gantry/history.db"
_SWITCH_INTERVAL: Final = 0.0001
"""With Python's default a busy event loop would starve the store's writer thread."""


def run(root: Path, ready: int | None) -> int:
    """Be what the node's state says; the exit status. It may replace the process."""
    return asyncio.run(serve(root, ready, None))


async def serve(
    root: Path, ready: int | None, elected: Elected | None, ended: asyncio.Event | None = None
) -> int:
    """Be the master until told to end, or until another one is: then the process begins anew.

    ``ended`` is set where it was told so before.
    """
    save_memory()
    memory.keep_large_apart()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    ended = ended or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        opening = loop.create_task(_opened(root, stack, ended, elected, ready))
        if not await _done(opening, ended):
            logger.info("ending, before it was the master")
            return 0
        master = opening.result()
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


async def _done(opening: asyncio.Task[Master | None], ended: asyncio.Event) -> bool:
    """Whether it is done; False where the process was told to end before, which may take long:
    a master whose state is a file may wait for other nodes.
    """
    waiting = asyncio.get_running_loop().create_task(ended.wait())
    await asyncio.wait([opening, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if opening.done():
        return True
    opening.cancel()
    await asyncio.gather(opening, waiting, return_exceptions=True)
    return False


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
    ground = Ground(root=root, here=here, store=store, history=history, agents=agents, clock=clock)
    return await assemble(ground, stack, end, before, elected)


def _exists(cluster: Snapshot) -> None:
    if cluster.cluster.destroyed:
        raise Rejected(
            "this cluster was destroyed", "make a new one: gnt-cluster init", reason=Reason.STATE
        )
