"""Puts the resources together into one application. No resource is written here."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gantry.api import errors
from gantry.api.access import Gate
from gantry.api.jobs import Jobs
from gantry.api.queries import Queries
from gantry.api.query import resources
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.api.users import Users
from gantry.ports.queue import Queue

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""


def build(queue: Queue, services: Services, users: Users | None = None) -> web.Application:
    """The API of one master; ``users`` are those with passwords, for TLS."""
    gate = Gate(queue, users)
    app = web.Application(
        middlewares=[errors.middleware, gate.middleware()], client_max_size=MAX_BODY
    )
    listings = Listings(queue, resources.table(queue, services))
    app.add_routes([*Jobs(queue).routes(), *Queries(listings).routes()])
    return app
