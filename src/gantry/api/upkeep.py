"""``state/backup``: what an operator does to the master and not to the cluster."""

from __future__ import annotations

from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services


class Upkeep:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.post("/gantry/1/state/backup", self.backup)]

    async def backup(self, request: web.Request) -> web.StreamResponse:
        """``{"path": …}`` of the copy, on the master."""
        return exchange.answer({"path": await self._services.backup_state()})
