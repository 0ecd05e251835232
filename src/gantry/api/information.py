"""``info``, ``instances/NAME``, ``nodes/NAME``, ``os``, ``tags/…`` and ``version``: reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from aiohttp import web

from gantry import __version__
from gantry.api import exchange
from gantry.api.documents import cluster as cluster_document
from gantry.api.documents import instance as instance_document
from gantry.api.documents import node as node_document
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.model import oses
from gantry.model.entities import Cluster, Entity
from gantry.model.errors import Reason, Rejected
from gantry.model.oses import ClusterOs, named
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
            web.get("/gantry/1/os", self.oses),
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

    async def oses(self, request: web.Request) -> web.StreamResponse:
        """A list of OS definitions over all nodes, which are asked now."""
        answers = await self._services.diagnose_oses()
        found = oses.combine({node: answer.oses for node, answer in answers.items()})
        cluster = self._listings.view().cluster.cluster
        return exchange.answer([_os(cluster, one) for one in found])

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


def _os(cluster: Cluster, one: ClusterOs) -> dict[str, Any]:
    def own(table: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in table.items() if name.partition("+")[0] == one.name}

    return {
        **msgspec.structs.asdict(one),
        "full_names": one.full_names,
        "hidden": named(cluster.hidden_os, one.name),
        "blacklisted": named(cluster.blacklisted_os, one.name),
        "os_hvp": own(cluster.os_hvp),
        "osparams": own(cluster.osparams),
        "node_status": {
            node: [
                {
                    "path": facts.path,
                    "valid": facts.valid,
                    "problem": facts.problem,
                    "variants": facts.variants,
                    "parameters": [name for name, _ in facts.parameters],
                    "api_versions": facts.api_versions,
                }
                for facts in entries
            ]
            for node, entries in one.node_status.items()
        },
    }
