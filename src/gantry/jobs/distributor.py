"""The ``ssconf_*`` files that scripts on every node read: what they say, and writing them.

A file is written to a node only when it differs from what this master wrote there last. The
contents are a pure function of the snapshot; the names are Ganeti's.
"""

from __future__ import annotations

import asyncio
import operator
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from gantry.jobs import issue
from gantry.jobs.context import Context
from gantry.model import timeouts
from gantry.model.entities import Cluster, Node
from gantry.model.errors import GantryError
from gantry.model.names import JobId, Uuid
from gantry.model.orders import FilesWrite
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address

_AT_ONCE: Final = 16
"""Nodes that are written to at the same time: each costs the memory of all files."""
_SHARE: Final = 9.0
"""So many times the length of a round is the pause after it."""


def ssconf(cluster: Snapshot, elected: bool = False) -> dict[str, str]:
    """File name to content, each line ended, sorted by name where it is a list.

    ``elected`` says that a candidate takes over by itself when the master's lease is over.
    """
    settings = cluster.cluster
    nodes = sorted(cluster.nodes.values(), key=lambda node: node.name)
    candidates = [node for node in nodes if node.master_candidate and not node.offline]
    values: dict[str, list[str]] = {
        "cluster_name": [settings.name],
        "cluster_tags": sorted(settings.tags),
        "file_storage_dir": [settings.file_storage_dir],
        "shared_file_storage_dir": [settings.shared_file_storage_dir],
        "hypervisor_list": [str(name) for name in settings.enabled_hypervisors],
        "instance_list": sorted(one.name for one in cluster.instances.values()),
        "maintain_node_health": [str(settings.maintain)],
        "master_candidates": [node.name for node in candidates],
        "master_candidates_ips": [node.primary_ip for node in candidates],
        "master_node": [cluster.master.name],
        "master_ip": [cluster.master.primary_ip],
        "node_list": [node.name for node in nodes],
        "node_primary_ips": [f"{node.name} {node.primary_ip}" for node in nodes],
        "node_secondary_ips": [f"{node.name} {node.secondary_ip}" for node in nodes],
        "node_vm_capable": [f"{node.name}={node.vm_capable}" for node in nodes],
        "nodegroups": sorted(f"{one.uuid} {one.name}" for one in cluster.groups.values()),
        "offline_nodes": [node.name for node in nodes if node.offline],
        "online_nodes": [node.name for node in nodes if not node.offline],
        "primary_ip_family": [_family(cluster.master)],
        "release_version": [_version()],
        "networks": [],
        "uid_pool": [],
        # Of our own: how commands on other nodes reach the master.
        "gantry_api_port": [str(settings.api_port)],
        # And for how long they look for one, where another takes over: seconds, else nothing.
        "gantry_master_lease": [str(settings.master_lease)] if elected else [],
    }
    values |= _hvparams(settings)
    return {
        f"ssconf_{name}": "".join(f"{line}\n" for line in lines) for name, lines in values.items()
    }


def _hvparams(cluster: Cluster) -> dict[str, list[str]]:
    """A file for each hypervisor."""
    files = {}
    for name in cluster.enabled_hypervisors:
        parameters: dict[str, Any] = cluster.hvparams.get(name, {})
        files[f"hvparams_{name}"] = [f"{key}={parameters[key]}" for key in sorted(parameters)]
    return files


class Distributor:
    """Brings the files of all reachable nodes up to date, where they differ.

    In rounds, one at a time: what changes during one is in the next. With ten thousand instances
    and a hundred nodes the list of names alone is 20 MB to send, for each that is added.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._written: dict[Uuid, dict[str, str]] = {}
        self._told: tuple[object, ...] = ()
        self._number = 0
        self._round = asyncio.Lock()
        self._rounds = 0
        self._due = 0.0
        self._waiting = False
        self._closing = asyncio.Event()

    def soon(self) -> None:
        """Bring them up to date in the background, unless that is about to be done anyway."""
        if not self._waiting and not self._up_to_date():
            self._waiting = True
            self._context.background.start(self._when_due())

    def close(self) -> None:
        """The master ends: what has not begun is left to the next one, which writes all files."""
        self._closing.set()

    async def distribute(self) -> None:
        """Write what changed since the last time to all nodes that answer."""
        before = self._rounds
        async with self._round:
            # A round that began since then took up all that was to be told.
            if self._rounds > before or self._up_to_date():
                return
            self._rounds += 1
            began = asyncio.get_running_loop().time()
            try:
                await self._write_all()
            finally:
                now = asyncio.get_running_loop().time()
                self._due = now + min(_SHARE * (now - began), timeouts.FILES_PAUSE)

    async def _when_due(self) -> None:
        """A round after a pause: long rounds must not take up all of the master's time."""
        try:
            async with asyncio.timeout_at(self._due):
                await self._closing.wait()
        except TimeoutError:
            self._waiting = False
            await self.distribute()
        finally:
            self._waiting = False

    async def _write_all(self) -> None:
        snapshot = self._context.state.snapshot()
        self._told = _sources(snapshot)
        wanted = ssconf(snapshot, self._context.elected)
        few = asyncio.Semaphore(_AT_ONCE)

        async def one(node: Node) -> None:
            async with few:
                await self._write(node, wanted)

        nodes = [node for node in snapshot.nodes.values() if not node.offline]
        # A node that nobody has heard of yet has just been added: scripts there read the files.
        there = [
            node
            for node in nodes
            if node.uuid not in snapshot.live or snapshot.node_live(node.uuid).reachable
        ]
        for node in nodes:
            if node not in there:
                # It is told all when it is back.
                self._written.pop(node.uuid, None)
        await asyncio.gather(*(one(node) for node in there))

    def _up_to_date(self) -> bool:
        """Whether nothing that the files are made of has changed since they were written."""
        now = _sources(self._context.state.snapshot())
        return len(now) == len(self._told) and all(map(operator.is_, now, self._told))

    def forget(self, node: Uuid) -> None:
        """The node was away: all of its files are written again."""
        self._written.pop(node, None)
        self._told = ()

    async def _write(self, node: Node, wanted: dict[str, str]) -> None:
        known = self._written.get(node.uuid, {})
        files = {name: text for name, text in wanted.items() if known.get(name) != text}
        if not files:
            return
        # Noted before it is done: what comes meanwhile is compared with what will be there.
        self._written[node.uuid] = wanted
        self._number += 1
        prefix = f"ssconf/{node.uuid}/"
        key = f"{prefix}{self._context.epoch}/{self._number}"
        to = Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)
        envelope = self._context.envelope(key, JobId(0), timeouts.URGENT)
        try:
            async with asyncio.timeout(timeouts.URGENT + timeouts.CONNECT):
                await self._context.agents.order(to, envelope, FilesWrite(files=files))
            issue.forget_all(self._context, to, prefix)
        except (GantryError, TimeoutError):
            # It is written when the node is back.
            self.forget(node.uuid)


def _sources(snapshot: Snapshot) -> tuple[object, ...]:
    """All that ``ssconf`` reads; a snapshot shares with the last one what did not change."""
    return (snapshot.cluster, snapshot.nodes, snapshot.groups, snapshot.instance_names)


@cache
def _version() -> str:
    return version("gantry-cluster")


def _family(node: Node) -> str:
    return "10" if ":" in node.primary_ip else "2"
