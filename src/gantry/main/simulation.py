"""``gantry simulate``: the agents of many nodes in one process, for clusters on one machine.

Each is the agent's own code with the node's own root, certificate, address and log. Only the
process is shared, and with it the memory of the interpreter. ``gantry local`` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import contextvars
import gc
import logging
import resource
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import configuration as configured
from gantry.host import memory, short_turns
from gantry.local.simulation import NODES, CrewOrder
from gantry.main.agent import opened, settle
from gantry.main.daemon import log_file, log_with, say_ready
from gantry.model.errors import Reason, Rejected

logger = logging.getLogger("gantry.simulation")

LOG: Final = "var/log/gantry/simulation.log"
_DESCRIPTORS: Final = 64
"""Files that one agent may have open: database, log, connections, scripts."""
_THREADS: Final = 16
"""For short work on files; a phase of hooks has a thread of its own."""
_node: contextvars.ContextVar[str] = contextvars.ContextVar("node", default="")


def main(arguments: Sequence[str]) -> int:
    """The sub-command; it ends with SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="gantry simulate",
        description="Run the agents of many simulated nodes in one process; "
        f"{NODES} below the root has the roots of the nodes. "
        "gantry local up --simulated-nodes starts this.",
        epilog="example: gantry simulate --root /tmp/gantry/simulation1",
    )
    parser.add_argument("--root", metavar="DIR", required=True, type=Path)
    parser.add_argument("--ready-fd", type=int, metavar="N", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    root = given.root.absolute()
    settle()
    memory.keep_large_apart()
    log_with(_LogOfEach(root / LOG))
    order = _order(root / NODES)
    roots = [Path(one) for one in order.roots]
    short_turns.share(order.crews)
    _allow_files(_DESCRIPTORS * len(roots))
    return asyncio.run(_serve(roots, given.ready_fd))


def _order(file: Path) -> CrewOrder:
    try:
        return msgspec.json.decode(file.read_bytes(), type=CrewOrder)
    except (OSError, msgspec.MsgspecError) as error:
        raise Rejected(
            f"{file} cannot be read: {error}",
            "gantry local up writes it and starts this",
            reason=Reason.ENVIRONMENT,
        ) from error


class _LogOfEach(logging.Handler):
    """Gives each line to the log of the agent that says it, or else to that of the process."""

    def __init__(self, own: Path) -> None:
        super().__init__()
        self._logs: dict[str, logging.Handler] = {"": log_file(own)}

    def emit(self, record: logging.LogRecord) -> None:
        """Find the log by what the code runs for."""
        root = _node.get()
        log = self._logs.get(root)
        if log is None:
            log = self._logs[root] = log_file(Path(root) / configured.LOG)
        log.handle(record)


async def _serve(roots: Sequence[Path], ready: int | None) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "files"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    opening: list[asyncio.Future[None]] = [loop.create_future() for _ in roots]
    tasks = [
        loop.create_task(_agent(root, one, ended), name=f"agent {root.name}")
        for root, one in zip(roots, opening, strict=True)
    ]
    try:
        await asyncio.gather(*opening)
        gc.freeze()
        memory.give_back()
        logger.info("ready agents=%d", len(roots))
        say_ready(ready)
        await ended.wait()
        logger.info("ending")
    finally:
        ended.set()
        await asyncio.gather(*tasks)
    return 0


async def _agent(root: Path, opening: asyncio.Future[None], ended: asyncio.Event) -> None:
    """One agent, in a task of its own, so that all that comes of it is known to be its."""
    _node.set(str(root))
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(opened(root, configured.read(root)))
        except Exception as error:  # whoever waits for all of them tells it
            opening.set_exception(error)
            return
        opening.set_result(None)
        await ended.wait()


def _allow_files(wanted: int) -> None:
    """Let this process have so many files open; Rejected where the system does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Rejected(
            f"{wanted} open files are needed for so many nodes, and {hard} are allowed",
            "raise the hard limit (ulimit -Hn), or simulate fewer nodes",
            reason=Reason.ENVIRONMENT,
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
