"""``info``, ``instances/NAME``, ``nodes/NAME``, ``tags/…`` and ``version``: reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web

from gantry import __version__
from gantry.api import exchange
from gantry.api.documents import cluster as cluster_document
from gantry.api.documents import instance as instance_document
from gantry.api.documents import node as node_document
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.model.entities import Entity
from gantry.model.errors import Reason, Rejected
from gantry.model.snapshot import Snapshot

_TAGGED: Final[dict[str, Callable[[Snapshot, str], Entity]]] = {
    "nodegroup": Snapshot.group,
    "group": Snapshot.group,
    "node": Snapshot.node,
    "instance": Snapshot.instance,
}


class Information:
    """The handlers."""

    def __init__(self, listings: Listings, services: Services) -> None:
        self._listings = listings
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/version", self.version),
            web.get("/gantry/1/info", self.cluster),
            web.get("/gantry/1/instances/{name}", self.instance),
            web.get("/gantry/1/nodes/{name}", self.node),
            web.get("/gantry/1/tags", self.all_tags),
            web.get("/gantry/1/tags/{kind}", self.tags),
            web.get("/gantry/1/tags/{kind}/{name}", self.tags),
        ]

    async def version(self, request: web.Request) -> web.StreamResponse:
        """``{"version": …, "api": 1}``."""
        return exchange.answer({"version": __version__, "api": 1})

    async def cluster(self, request: web.Request) -> web.StreamResponse:
        """All of the cluster."""
        store = await self._services.store()
        return exchange.answer(cluster_document.document(self._listings.view()) | {"store": store})

    async def instance(self, request: web.Request) -> web.StreamResponse:
        """All of one instance."""
        view = self._listings.view()
        found = view.cluster.instance(request.match_info["name"])
        return exchange.answer(instance_document.document(view, found))

    async def node(self, request: web.Request) -> web.StreamResponse:
        """All of one node."""
        view = self._listings.view()
        found = view.cluster.node(request.match_info["name"])
        return exchange.answer(node_document.document(view, found))

    async def all_tags(self, request: web.Request) -> web.StreamResponse:
        """``{"tags": [{"path": "/nodes/NAME", "tag": …}, …]}``, of all objects."""
        cluster = self._listings.view().cluster
        found = sorted((path, tag) for path, entity in _all(cluster) for tag in entity.tags)
        return exchange.answer({"tags": [{"path": path, "tag": tag} for path, tag in found]})

    async def tags(self, request: web.Request) -> web.StreamResponse:
        """``{"tags": […]}``, sorted."""
        kind, name = request.match_info["kind"], request.match_info.get("name", "")
        cluster = self._listings.view().cluster
        return exchange.answer({"tags": sorted(_tagged(cluster, kind, name).tags)})


def _all(cluster: Snapshot) -> Iterator[tuple[str, Entity]]:
    """Every object that may have tags, under the path that Ganeti shows."""
    yield "/cluster", cluster.cluster
    yield from ((f"/nodegroup/{one.name}", one) for one in cluster.groups.values())
    yield from ((f"/nodes/{one.name}", one) for one in cluster.nodes.values())
    yield from ((f"/instances/{one.name}", one) for one in cluster.instances.values())


def _tagged(cluster: Snapshot, kind: str, name: str) -> Entity:
    if kind == "cluster" and not name:
        return cluster.cluster
    find = _TAGGED.get(kind)
    if find is None or not name:
        raise Rejected(
            f"tags/{kind}{'/' if name else ''}{name} names nothing that has tags",
            "tags/cluster, or tags/nodegroup/NAME, tags/node/NAME, tags/instance/NAME",
            reason=Reason.UNKNOWN,
        )
    return find(cluster, name)
