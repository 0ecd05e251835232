"""Puts the resources together into one application. No resource is written here."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gantry.api import errors, exchange
from gantry.api.access import Gate
from gantry.api.bundles import Bundles
from gantry.api.console import Console
from gantry.api.deliveries import Deliveries, Outbox
from gantry.api.events import Bell, Events, Told
from gantry.api.exports import Exports
from gantry.api.hook_lint import HookLint
from gantry.api.hook_runs import HookRunResources
from gantry.api.hooks import Hooks
from gantry.api.information import Information
from gantry.api.jobs import Jobs
from gantry.api.joining import Joining
from gantry.api.os_definitions import OsDefinitions
from gantry.api.queries import Queries
from gantry.api.query import resources
from gantry.api.query.listing import Listings
from gantry.api.services import Services
from gantry.api.upkeep import Upkeep
from gantry.api.users import Users
from gantry.api.webhooks import Webhooks
from gantry.ports.queue import Queue
from gantry.supervision.hook_points import HookPoints

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request's body."""


def build(
    queue: Queue,
    services: Services,
    users: Users | None = None,
    bell: Bell | None = None,
    points: HookPoints | None = None,
    outbox: Outbox | None = None,
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
    bell = bell or Bell()
    deliveries = Deliveries(queue, bell, lambda: Told(listings, queue, points), outbox)
    _beside(app, deliveries)
    app.add_routes(
        [
            *Jobs(queue, services).routes(),
            *Queries(listings).routes(),
            *Information(listings, services).routes(),
            *OsDefinitions(queue, services).routes(),
            *Exports(listings, services).routes(),
            *Console(listings, services).routes(),
            *Hooks(queue, services).routes(),
            *HookLint(queue, services).routes(),
            *HookRunResources(queue, services).routes(),
            *Bundles(queue, services).routes(),
            *Joining(queue, services).routes(),
            *Upkeep(services).routes(),
            *Events(listings, queue, bell, points).routes(),
            *Webhooks(queue, deliveries).routes(),
        ]
    )
    return app


def _beside(app: web.Application, deliveries: Deliveries) -> None:
    """Webhooks are told from the application's start to its end."""

    async def start(app: web.Application) -> None:
        await deliveries.start()

    async def stop(app: web.Application) -> None:
        await deliveries.stop()

    app.on_startup.append(start)
    app.on_shutdown.append(stop)
