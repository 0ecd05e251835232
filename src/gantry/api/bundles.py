"""``/gantry/1/hooks/bundles`` and ``…/installed``: what can be pushed, and what nodes have."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.hooks import rollout
from gantry.model import bundles as model
from gantry.model.bundle_orders import InstalledBundle, ReadBundle
from gantry.model.entities import HookBundle, Node
from gantry.model.errors import GantryError
from gantry.model.snapshot import Snapshot
from gantry.ports.queue import Queue


class Upload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST hooks/bundles``: ``packed`` is base64."""

    packed: bytes


_uploads = msgspec.json.Decoder(Upload)


class HookBundles:
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
        ]

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """``{"number": …, "sha256": …}``: kept, and not yet on any node."""
        given = await exchange.body(request, _uploads)
        made = await self._services.keep_bundle(given.packed)
        return exchange.answer({"number": made.number, "sha256": made.sha256})

    async def listing(self, request: web.Request) -> web.StreamResponse:
        """``{"bundles": […], "everywhere": N, "nodes": {name: N}}``, without contents."""
        cluster = self._queue.snapshot()
        wanted = rollout.rollout(cluster)
        found = sorted(cluster.bundles.values(), key=lambda one: one.number)
        return exchange.answer(
            {
                "bundles": [_bundle(one) for one in found],
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
        cluster = self._queue.snapshot()
        name = request.query.get("node", "")
        nodes = [cluster.node(name)] if name else list(cluster.nodes.values())
        nodes.sort(key=lambda node: node.name)
        answers = await self._services.ask_nodes([one.uuid for one in nodes], ReadBundle())
        return exchange.answer([_installed(cluster, one, answers.get(one.name)) for one in nodes])


def _bundle(one: HookBundle) -> dict[str, Any]:
    return {
        "number": one.number,
        "sha256": one.sha256,
        "pushed": one.ctime,
        "files": one.files,
        "packed_size": len(one.packed),
    }


def _installed(
    cluster: Snapshot, node: Node, answer: InstalledBundle | GantryError | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "node": node.name,
        "offline": node.offline,
        "wanted": rollout.wanted(cluster, node.uuid),
        "wanted_sha256": rollout.wanted_hash(cluster, node.uuid),
    }
    if not isinstance(answer, InstalledBundle):
        problem = answer.message if answer is not None else f"node {node.name} is gone"
        return {**found, "problem": problem, "sha256": None, "number": None, "files": []}
    known = rollout.by_hash(cluster, answer.sha256)
    number = 0 if not answer.sha256 else known.number if known is not None else None
    return {
        **found,
        "problem": "",
        "sha256": answer.sha256,
        "number": number,
        "files": answer.files,
    }
