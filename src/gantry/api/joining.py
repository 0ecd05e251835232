"""``ca``, ``tokens`` and ``join``: letting a machine in. Certificates are issued elsewhere."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.model.errors import Reason, Rejected
from gantry.model.names import host_name
from gantry.pki.tokens import secret_hash
from gantry.ports.queue import Queue

_LONGEST_REQUEST: Final = 16 * 1024


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST tokens``: which machine may join."""

    name: str


_token_requests = msgspec.json.Decoder(TokenRequest)


class Joining:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/ca", self.ca),
            web.post("/gantry/1/tokens", self.token),
            web.post("/gantry/1/join", self.join),
        ]

    async def ca(self, request: web.Request) -> web.StreamResponse:
        """The CA's certificate as PEM: a machine compares it with its token's fingerprint."""
        text = self._services.ca_certificate()
        return web.Response(text=text, content_type="application/x-pem-file")

    async def token(self, request: web.Request) -> web.StreamResponse:
        """``{"token": …}``: whoever reads it can join; it is told once and not kept."""
        wanted = await exchange.body(request, _token_requests)
        name = host_name(wanted.name, "the name of a node")
        return exchange.answer({"token": await self._services.create_token(name)})

    async def join(self, request: web.Request) -> web.StreamResponse:
        """The bundle for the machine that has shown a valid token."""
        # Brings in cryptography, which a master that nobody joins does not need.
        from gantry.pki.joining import JoinRequest

        if (request.content_length or 0) > _LONGEST_REQUEST:
            raise Rejected("the request to join is too long")
        wanted = await exchange.body(request, msgspec.json.Decoder(JoinRequest))
        # Anybody may ask: without a known token not even a job is made of it.
        digest = secret_hash(wanted.secret)
        tokens = self._queue.snapshot().tokens.values()
        if all(token.secret_hash != digest for token in tokens):
            raise Rejected(
                "the token is not valid: it was used, it is older than an hour, or it is "
                "of another cluster",
                "make a new one on the master: gantry token NAME",
                reason=Reason.STATE,
            )
        return exchange.answer(await self._services.accept_join(wanted))
