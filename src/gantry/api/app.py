"""Puts the resources together into one application. No resource is written here."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gantry.api import errors, exchange
from gantry.api.access import Gate
from gantry.api.bundles import HookBundles
from gantry.api.console import Console
from gantry.api.events import Bell, Events
from gantry.api.hook_lint import HookLint
from gantry.api.hook_runs import HookRunResources
from gantry.api.hooks import Hooks
from gantry.api.information import Information
from gantry.api.jobs import Jobs
from gantry.api.joining import Joining
from gantry.api.queries import Queries
from gantry.api.query import resources
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.api.upkeep import Upkeep
from gantry.api.users import Users
from gantry.ports.queue import Queue

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""


def build(
    queue: Queue, services: Services, users: Users | None = None, bell: Bell | None = None
) -> web.Application:
    """The API of one master; ``users`` are those with passwords, for TLS.

    ``bell`` is to be rung whenever jobs, the cluster or live states have changed.
    """
    gate = Gate(queue, users)
    app = web.Application(
        middlewares=[errors.middleware, gate.middleware()], client_max_size=MAX_BODY
    )
    app.on_startup.append(exchange.prepare)
    app.on_shutdown.append(exchange.end)
    listings = Listings(queue, resources.table(queue, services))
    app.add_routes(
        [
            *Jobs(queue, services).routes(),
            *Queries(listings).routes(),
            *Information(listings, services).routes(),
            *Console(listings, services).routes(),
            *Hooks(queue, services).routes(),
            *HookLint(queue, services).routes(),
            *HookRunResources(queue, services).routes(),
            *HookBundles(queue, services).routes(),
            *Joining(queue, services).routes(),
            *Upkeep(services).routes(),
            *Events(listings, queue, bell or Bell()).routes(),
        ]
    )
    return app
