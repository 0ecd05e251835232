"""``/gantry/1/query``: rows and fields."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gantry.api import exchange
from gantry.api.query.listing import Listings
from gantry.model.errors import Rejected

_ARGUMENTS: Final = ("fields", "names", "filter")


class Queries:
    """The handlers."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/query/{resource}", self.rows),
            web.get("/gantry/1/query/{resource}/fields", self.fields),
        ]

    async def rows(self, request: web.Request) -> web.StreamResponse:
        """``{"fields": […], "rows": […], "missing": […]}``."""
        unknown = set(request.query) - set(_ARGUMENTS)
        if unknown:
            raise Rejected(
                f"a query has no argument {', '.join(sorted(unknown))}",
                "it has fields, names and filter",
            )
        given = [request.query.get(name, "") for name in _ARGUMENTS]
        data = await self._listings.answer(request.match_info["resource"], *given)
        return exchange.encoded(data)

    async def fields(self, request: web.Request) -> web.StreamResponse:
        """``{"fields": […]}``."""
        found = self._listings.describe(request.match_info["resource"])
        return exchange.answer({"fields": found})
