"""Copies of the state for candidates: made of the files here, sent in pieces to agents there.

The state's file may be in use meanwhile. With it goes the history, so that a new master knows
the archived jobs; the runs of hooks it hears from the nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.host.clock import boottime
from gantry.jobs.queue import Engine
from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.model.master_orders import StateComplete, StateFile, StatePiece
from gantry.model.names import Uuid
from gantry.model.orders import Nothing, Order
from gantry.ports.agents import Address, Agents, Envelope
from gantry.ports.clock import Clock
from gantry.store import backup
from gantry.supervision.supervisor import addresses

logger = logging.getLogger("gantry.master")

DIRECTORY: Final = "var/lib/gantry/outgoing"
_FILES: Final = {"state": "var/lib/gantry/state.db", "history": "var/lib/gantry/history.db"}
_PIECE: Final = 256 * 1024
"""Bytes sent at a time; the agents that get larger ones keep a heap that has held them."""
OFTEN: Final = 10.0
"""Seconds between two copies of a state that changes, where they cost little."""
SELDOM: Final = 300.0
_COST: Final = 100.0
"""A copy is made again only after so many times the seconds that the last one took."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that is ready to be sent; ``paths`` are in the order of ``files``."""

    name: str
    files: tuple[StateFile, ...]
    paths: tuple[Path, ...]
    taken: float
    revision: int

    def remove(self) -> None:
        """It is not needed any more."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def prepare(root: Path, name: str, taken: float) -> Copy:
    """Copy the files, in use or not; StoreUnavailable where that cannot be. Blocks."""
    directory = root / DIRECTORY
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files, paths, revision = [], [], 0
    for file, place in _FILES.items():
        if not (root / place).exists():
            continue
        path = directory / f"{file}-{name}"
        path.unlink(missing_ok=True)
        backup.copy_database(root / place, path)
        if file == "state":
            revision = backup.revision_of(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            files.append(StateFile(file=file, size=stream.tell(), sha256=digest))
        paths.append(path)
    return Copy(name=name, files=tuple(files), paths=tuple(paths), taken=taken, revision=revision)


class Sender:
    """Sends copies as the master of ``epoch``, while ``lease_left`` says that it is one."""

    def __init__(
        self, agents: Agents, clock: Clock, epoch: int, lease_left: Callable[[], float]
    ) -> None:
        self._agents = agents
        self._clock = clock
        self._epoch = epoch
        self._lease_left = lease_left

    async def send(self, to: Address, copy: Copy, *, take_over: bool = False) -> None:
        """All of it; raises what the agent said."""
        turn = self._clock.random_bytes(6).hex()
        for number, order in enumerate(_pieces(copy)):
            await self._order(to, f"copy/{turn}/{number}", order)
        await self._complete(to, copy, turn, take_over=take_over)
        await self._agents.forget(to, [f"copy/{turn}/"], self._epoch)

    async def _complete(self, to: Address, copy: Copy, turn: str, *, take_over: bool) -> None:
        """The last word about a copy whose pieces were sent."""
        order = StateComplete(
            copy=copy.name,
            files=copy.files,
            taken=copy.taken,
            revision=copy.revision,
            take_over=take_over,
        )
        # All of it is read there, and what is large on a slow disk takes its time.
        await self._order(to, f"copy/{turn}/complete", order, timeouts.NORMAL)

    async def _order(
        self, to: Address, key: str, order: Order[Nothing], timeout: float = timeouts.URGENT
    ) -> None:
        envelope = Envelope(
            key=key,
            job=0,
            epoch=self._epoch,
            until=boottime() + self._lease_left(),
            timeout=timeout,
        )
        await self._agents.order(to, envelope, order)


def _pieces(copy: Copy) -> Iterator[StatePiece]:
    for file, path in zip(copy.files, copy.paths, strict=True):
        with path.open("rb") as stream:
            offset = 0
            while data := stream.read(_PIECE):
                yield StatePiece(copy=copy.name, file=file.file, offset=offset, data=data)
                offset += len(data)


async def keep_candidates(
    root: Path, engine: Engine, sender: Sender, here: Uuid, often: float = OFTEN
) -> None:
    """Send a copy to the candidates whenever the state has changed, as often as is cheap.

    ``often`` is the least pause between two, in seconds. Where the state is in etcd a copy has
    only the history.
    """
    pause, sent = often, (-1, -1)
    known: set[Uuid] = set()
    while True:
        await asyncio.sleep(pause)
        pause = often
        to = _candidates(engine, here)
        now = (engine.snapshot().revision, engine.awaited_commits)
        changed = now != sent or {one.node for one in to} - known
        if not to or not changed:
            continue
        began, sent = time.monotonic(), now
        try:
            known = await _send_all(root, sender, to)
        except GantryError as error:
            logger.warning("no copy of the state was made for the candidates: %s", error)
        pause = min(max(often, _COST * (time.monotonic() - began)), SELDOM)


def _candidates(engine: Engine, here: Uuid) -> list[Address]:
    cluster = engine.snapshot()
    return [
        one
        for one in addresses(cluster)
        if one.node != here
        and cluster.nodes[one.node].master_candidate
        and (live := cluster.live.get(one.node)) is not None
        and live.reachable
    ]


async def _send_all(root: Path, sender: Sender, to: Sequence[Address]) -> set[Uuid]:
    now = time.time()
    copy = await asyncio.to_thread(prepare, root, f"{now:.3f}".replace(".", "-"), now)
    done = set()
    try:
        for one in to:
            try:
                await sender.send(one, copy)
                done.add(one.node)
            except GantryError as error:
                logger.warning("node %s got no copy of the state: %s", one.name, error)
    finally:
        copy.remove()
    return done
