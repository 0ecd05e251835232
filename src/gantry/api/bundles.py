"""``/gantry/1/hooks/bundles`` and ``…/installed``: what can be pushed, and what nodes have.

The same for OS definitions below ``/gantry/1/os``, where ``name`` says which one.
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Any

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.model import bundles as model
from gantry.model import rollout
from gantry.model.bundle_orders import FileKind, InstalledBundle, InstalledFile, ReadBundle
from gantry.model.entities import Bundle, Node
from gantry.model.errors import GantryError
from gantry.model.snapshot import Snapshot
from gantry.ports.queue import Queue


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST hooks/bundles``: ``packed`` is base64."""

    packed: bytes


class OsUpload(Upload, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Body of ``POST os/bundles``: of the definition ``name``."""

    name: str


_uploads = msgspec.json.Decoder(Upload)
_os_uploads = msgspec.json.Decoder(OsUpload)


class Bundles:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/hooks/bundles", self.listing),
            web.post("/gantry/1/hooks/bundles", self.upload),
            web.get("/gantry/1/hooks/installed", self.installed),
            web.get("/gantry/1/os/bundles", self.os_listing),
            web.post("/gantry/1/os/bundles", self.os_upload),
            web.get("/gantry/1/os/installed", self.os_installed),
        ]

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """``{"number": …, "sha256": …}``: kept, and not yet on any node."""
        return await self._keep(model.HOOKS, await exchange.body(request, _uploads))

    async def os_upload(self, request: web.Request) -> web.StreamResponse:
        """The same, of an OS definition."""
        given = await exchange.body(request, _os_uploads)
        return await self._keep(model.of_os(given.name), given)

    async def _keep(self, target: str, given: Upload) -> web.StreamResponse:
        made = await self._services.keep_bundle(target, given.packed)
        return exchange.answer({"number": made.number, "sha256": made.sha256})

    async def listing(self, request: web.Request) -> web.StreamResponse:
        """``{"bundles": […], "everywhere": N, "nodes": {name: N}}``, without contents."""
        return self._list(model.HOOKS)

    async def os_listing(self, request: web.Request) -> web.StreamResponse:
        """The same, of the OS definition ``?name=``."""
        exchange.arguments(request, "name")
        return self._list(model.of_os(request.query.get("name", "")))

    def _list(self, target: str) -> web.StreamResponse:
        cluster = self._queue.snapshot()
        wanted = rollout.rollout(cluster, target)
        return exchange.answer(
            {
                "bundles": [_bundle(one) for one in rollout.kept(cluster, target)],
                "everywhere": wanted.everywhere if wanted is not None else None,
                "nodes": {
                    cluster.nodes[uuid].name: number
                    for uuid, number in (wanted.nodes if wanted is not None else {}).items()
                    if uuid in cluster.nodes
                },
                "limits": {"packed": model.MAX_PACKED, "content": model.MAX_CONTENT},
            }
        )

    async def installed(self, request: web.Request) -> web.StreamResponse:
        """A list, an object a node (``?node=``: of one): what is to be there, and what is, now."""
        exchange.arguments(request, "node")
        return exchange.answer(await self._ask(self._nodes(request), model.HOOKS))

    async def os_installed(self, request: web.Request) -> web.StreamResponse:
        """The same for OS definitions, with their ``name``: all that were pushed, or ``?name=``.

        Without a name also those that were put by hand where pushed ones are.
        """
        exchange.arguments(request, "node", "name")
        cluster, nodes = self._queue.snapshot(), self._nodes(request)
        name = request.query.get("name", "")
        targets = [model.of_os(name)] if name else rollout.targets(cluster)
        targets = [one for one in targets if one != model.HOOKS]
        asked = await asyncio.gather(*(self._ask(nodes, target) for target in targets))
        found = [
            {"name": model.os_name(target), **one}
            for target, answers in zip(targets, asked, strict=True)
            for one in answers
        ]
        if not name:
            found += _by_hand(cluster, nodes, set(targets))
        return exchange.answer(found)

    def _nodes(self, request: web.Request) -> list[Node]:
        cluster, name = self._queue.snapshot(), request.query.get("node", "")
        nodes = [cluster.node(name)] if name else list(cluster.nodes.values())
        return sorted(nodes, key=lambda node: node.name)

    async def _ask(self, nodes: list[Node], target: str) -> list[dict[str, Any]]:
        cluster, question = self._queue.snapshot(), ReadBundle(target=target)
        answers = await self._services.ask_nodes([one.uuid for one in nodes], question)
        return [_installed(cluster, target, one, answers.get(one.name)) for one in nodes]


def _bundle(one: Bundle) -> dict[str, Any]:
    return {
        "number": one.number,
        "sha256": one.sha256,
        "pushed": one.ctime,
        "files": one.files,
        "packed_size": len(one.packed),
    }


def _installed(
    cluster: Snapshot, target: str, node: Node, answer: InstalledBundle | GantryError | None
) -> dict[str, Any]:
    wanted = rollout.wanted(cluster, target, node.uuid)
    found: dict[str, Any] = {
        "node": node.name,
        "offline": node.offline,
        "wanted": wanted,
        "before": rollout.before(cluster, target, node.uuid) if wanted else None,
        "wanted_sha256": rollout.wanted_hash(cluster, target, node.uuid),
    }
    if not isinstance(answer, InstalledBundle):
        problem = answer.message if answer is not None else f"node {node.name} is gone"
        return {**found, "problem": problem, "sha256": None, "number": None, "files": []}
    known = rollout.by_hash(cluster, target, answer.sha256)
    number = 0 if not answer.sha256 else known.number if known is not None else None
    return {
        **found,
        "problem": "",
        "sha256": answer.sha256,
        "number": number,
        "files": answer.files,
    }


def _by_hand(cluster: Snapshot, nodes: list[Node], targets: set[str]) -> list[dict[str, Any]]:
    """What nodes were heard to have where pushed definitions are, and nobody pushed."""
    found = []
    for node in nodes:
        facts = cluster.node_live(node.uuid).facts
        for one in facts.oses if facts is not None else ():
            pushed = model.OS_PREFIX + one.name in targets
            if facts is not None and not pushed and _place(one.path) == _first(facts.root):
                local = InstalledFile(path=one.name, kind=FileKind.LOCAL, sha256=one.digest)
                found.append(
                    {
                        "name": one.name,
                        "node": node.name,
                        "offline": node.offline,
                        "wanted": None,
                        "before": None,
                        "wanted_sha256": None,
                        "problem": "",
                        "sha256": "",
                        "number": 0,
                        "files": (local,),
                    }
                )
    return sorted(found, key=lambda one: (one["name"], one["node"]))


def _place(path: str) -> PurePosixPath:
    return PurePosixPath(path).parent


def _first(root: str) -> PurePosixPath:
    return PurePosixPath(root) / model.DEFINITIONS
