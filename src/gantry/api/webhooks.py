"""``/gantry/1/webhooks``: which there are, how it stands with each, and trying one."""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec
from aiohttp import web

from gantry.api import access, exchange
from gantry.api.caller import Rights
from gantry.api.deliveries import Account, Deliveries, body
from gantry.api.posting import Poster
from gantry.model import webhooks as model
from gantry.model.entities import Webhook
from gantry.model.errors import Reason, Rejected
from gantry.ports.queue import Queue


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST webhooks/NAME/test``: nothing."""


_trials = msgspec.json.Decoder(Trial)


class Webhooks:
    """The handlers."""

    def __init__(self, queue: Queue, deliveries: Deliveries) -> None:
        self._queue = queue
        self._deliveries = deliveries

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/webhooks", self.listing),
            web.post("/gantry/1/webhooks/{name}/test", self.trial),
        ]

    async def listing(self, request: web.Request) -> web.StreamResponse:
        """A list, an object a webhook; secrets are never shown, addresses to writers alone."""
        whole = access.caller(request).rights is Rights.WRITE
        found = sorted(self._queue.snapshot().webhooks.values(), key=lambda one: one.name)
        return exchange.answer([self._row(one, whole=whole) for one in found])

    async def trial(self, request: web.Request) -> web.StreamResponse:
        """Send a ``test`` event once, at once: ``{"delivered": …, "problem": …}``."""
        await exchange.body(request, _trials)
        webhook = self._find(request.match_info["name"])
        number = str(uuid.uuid4())
        event = {"event": "test", "webhook": webhook.name}
        sent = body(number, time.time(), self._queue.snapshot().cluster.name, event)
        async with Poster(webhook) as poster:
            problem = await poster.post(sent, number, 1)
        return exchange.answer({"delivered": not problem, "problem": problem})

    def _find(self, name: str) -> Webhook:
        for one in self._queue.snapshot().webhooks.values():
            if one.name == name:
                return one
        raise Rejected(
            f"there is no webhook {name!r}",
            "gnt-hook webhook-list shows them",
            reason=Reason.UNKNOWN,
            object_name=name,
        )

    def _row(self, one: Webhook, *, whole: bool) -> dict[str, Any]:
        line = self._deliveries.line(one.name)
        account = line.account if line is not None else Account()
        return {
            "name": one.name,
            "url": one.url if whole else model.shown(one.url),
            "events": list(one.events),
            "ca": bool(one.ca),
            "waiting": line.waiting if line is not None else 0,
            "delivered": account.delivered,
            "failed": account.failed,
            "dropped": account.dropped,
            "last_delivered": account.last_delivered,
            "last_error": account.last_error,
            "last_error_at": account.last_error_at,
            "next_try": line.next_try if line is not None else None,
        }
