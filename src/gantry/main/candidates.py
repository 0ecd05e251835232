"""The master's files on all candidates: kept as this master's own, taken from who is none any more.

What a candidate should have is compared with what its agent says that it has: after every change
of nodes or cluster, when a node is heard of again, and now and then, since an operator changes
files without telling anybody. Nothing of it is journaled: what was missed is done the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from gantry.jobs.election import Mastership
from gantry.main.bootstrap import MASTER, MasterConfiguration
from gantry.model import timeouts
from gantry.model.candidate_orders import (
    MASTER_FILES,
    MASTER_NAME,
    OWN_FILES,
    MasterFiles,
    MasterFilesHeld,
    ReadMasterFiles,
)
from gantry.model.entities import Node
from gantry.model.errors import GantryError
from gantry.model.names import Uuid
from gantry.pki import files
from gantry.ports.agents import Address, Agents, Envelope
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue

logger = logging.getLogger(__name__)

_SHARED: Final = tuple(name for name in MASTER_FILES if name not in OWN_FILES)
_API: Final = ("pki/api.pem", "pki/api.key")
_DAY: Final = 86400.0
_SIDE_BY_SIDE: Final = 10
"""Nodes that are looked at at the same time."""


class Candidates:
    """Runs beside the queue in the master of the node ``here``."""

    def __init__(
        self,
        root: Path,
        here: Uuid,
        engine: Queue,
        agents: Agents,
        clock: Clock,
        mastership: Mastership,
    ) -> None:
        self._root = root
        self._here = here
        self._mastership = mastership
        self._engine = engine
        self._agents = agents
        self._clock = clock
        self._number = 0
        self._wake = asyncio.Event()
        self._sources: tuple[object, object] = (None, None)
        self._done: dict[Uuid, object] = {}
        """What a node was brought to, or was found to have."""
        self._turns = asyncio.Semaphore(_SIDE_BY_SIDE)

    def refresh(self) -> None:
        """Objects changed. Called after every commit, so it looks only where nodes did."""
        cluster = self._engine.snapshot()
        sources = (cluster.nodes, cluster.cluster)
        if any(now is not then for now, then in zip(sources, self._sources, strict=True)):
            self._sources = sources
            self._wake.set()

    def came(self, node: Uuid) -> None:
        """A node is heard of (again): nobody knows what it has."""
        self._done.pop(node, None)
        self._wake.set()

    async def follow(self) -> None:
        """Keep everything right, until it is cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.look()
            except (OSError, GantryError, msgspec.MsgspecError) as error:
                logger.error("the files for master candidates cannot be read: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeouts.FILES_LOOK):
                    await self._wake.wait()

    async def look(self) -> None:
        """Bring every node that answers to what it should have."""
        cluster = self._engine.snapshot()
        shared = await asyncio.to_thread(_read, self._root)
        nodes = [
            node
            for node in cluster.nodes.values()
            if node.uuid != self._here
            and not node.offline
            and cluster.node_live(node.uuid).reachable
        ]
        await asyncio.gather(*(self._see_to(node, shared) for node in nodes))
        for gone in self._done.keys() - cluster.nodes.keys():
            del self._done[gone]

    async def _see_to(self, node: Node, shared: dict[str, str]) -> None:
        hosts = [self._engine.snapshot().cluster.name, node.name, node.primary_ip]
        # Once a day each is looked at all the same: certificates end.
        whole = (sorted(map(_digest, shared.values())), hosts, self._clock.now() // _DAY)
        wanted = whole if node.master_candidate else None
        if node.uuid in self._done and self._done[node.uuid] == wanted:
            return
        to = Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)
        try:
            async with self._turns, asyncio.timeout(timeouts.URGENT):
                held = await self._agents.ask(to, ReadMasterFiles(), timeouts.URGENT)
                order = (
                    await asyncio.to_thread(self._missing, node, shared, hosts, held)
                    if node.master_candidate
                    else MasterFiles()
                )
                if order.files or set(held.digests).difference(order.keep):
                    await self._send(to, order)
        except (GantryError, TimeoutError) as error:
            # Again when the node is back, or at the next look.
            why = "no answer in time" if isinstance(error, TimeoutError) else error
            logger.warning("the files of a master candidate, node %s: %s", node.name, why)
            self._done.pop(node.uuid, None)
            return
        self._done[node.uuid] = wanted

    async def _send(self, to: Address, order: MasterFiles) -> None:
        self._number += 1
        epoch, prefix = self._mastership.epoch, f"candidate/{to.node}/"
        envelope = Envelope(
            key=f"{prefix}{epoch}/{self._number}",
            job=0,
            epoch=epoch,
            until=self._clock.monotonic() + self._mastership.lease_left(),
            timeout=timeouts.URGENT,
        )
        await self._agents.order(to, envelope, order)
        await self._agents.forget(to, [prefix], epoch)
        done = "sent" if order.files or order.keep else "taken away"
        logger.info("the files of a master were %s: node %s", done, to.name)

    def _missing(
        self, node: Node, shared: dict[str, str], hosts: list[str], held: MasterFilesHeld
    ) -> MasterFiles:
        """What the candidate must be sent, and what it has already."""
        # Brings in cryptography, which a master without candidates does not need.
        from gantry.pki.authority import Authority

        wanted = {**shared, MASTER_NAME: _configuration(self._root, node)}
        same = {name for name, text in wanted.items() if held.digests.get(name) == _digest(text)}
        sent = {name: text for name, text in wanted.items() if name not in same}
        now = self._clock.now()
        authority = Authority.load(self._root)
        if _API[1] in held.digests and authority.serves(held.api, hosts, now):
            same.update(_API)
        else:
            issued = authority.issue_api(hosts, now)
            sent |= dict(zip(_API, (issued.certificate, issued.key), strict=True))
        return MasterFiles(files=sent, keep=tuple(sorted(same)))


def _read(root: Path) -> dict[str, str]:
    """This master's files that are the same on all candidates."""
    here = files.of_master(root)
    return {name: (root / files.BELOW / name).read_text() for name in _SHARED if name in here}


def _configuration(root: Path, node: Node) -> str:
    """``master.json`` of a candidate: as ours, but for its address."""
    ours = msgspec.json.decode((root / MASTER).read_bytes(), type=MasterConfiguration)
    theirs = msgspec.structs.replace(ours, api_host=node.primary_ip)
    return msgspec.json.encode(theirs).decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
