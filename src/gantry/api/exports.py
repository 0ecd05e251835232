"""``exports``: which exports of instances the nodes have, asked now."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.model.backup_orders import ExportFacts, ReadExports
from gantry.model.errors import GantryError


class Exports:
    """The handler."""

    def __init__(self, listings: Listings, services: Services) -> None:
        self._listings = listings
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.get("/gantry/1/exports", self.exports)]

    async def exports(self, request: web.Request) -> web.StreamResponse:
        """``{"exports": [{"node": …, "export": …, …}], "unknown": {node: why}}``.

        ``?nodes=a,b`` asks only these.
        """
        cluster = self._listings.view().cluster
        wanted = [name for name in request.query.get("nodes", "").split(",") if name]
        nodes = [cluster.node(name).uuid for name in wanted] if wanted else list(cluster.nodes)
        answers = await self._services.ask_nodes(nodes, ReadExports())
        unknown = {
            name: answer.message
            for name, answer in sorted(answers.items())
            if isinstance(answer, GantryError)
        }
        found = [
            _row(name, one)
            for name, answer in sorted(answers.items())
            if not isinstance(answer, GantryError)
            for one in answer.exports
        ]
        return exchange.answer({"exports": found, "unknown": unknown})


def _row(node: str, one: ExportFacts) -> dict[str, Any]:
    return {
        "node": node,
        "export": one.name,
        "time": one.time,
        "os": one.os,
        "disks": one.disks,
        "size": one.size,
        "problem": one.problem,
        "points": [msgspec.structs.asdict(point) for point in one.points],
    }
