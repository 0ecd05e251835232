"""A web server that takes webhooks, or does what such servers do instead."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web

SECRET = "0123456789abcdef"


class Taken(NamedTuple):
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["event"]
        return found

    def signed_with(self, secret: str) -> bool:
        """Computed anew, as a receiver would."""
        mine = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(self.headers["X-Gantry-Signature"], f"sha256={mine}")


class Receiver:
    """``answers`` are the statuses of the next requests, then 200.

    0 hangs, -1 hangs up, 299 answers slowly.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: asyncio.Queue[Taken] = asyncio.Queue()
        self.elsewhere = 0
        """Requests that followed a redirection."""
        self.url = ""

    async def next(self) -> Taken:
        """The next request."""
        async with asyncio.timeout(100):
            return await self.requests.get()

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.put_nowait(Taken(dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 200
        if status == 0:
            await asyncio.sleep(3600)
        if status == 299:
            return await self._slowly(request)
        if status == -1:
            assert request.transport is not None
            request.transport.abort()
        if status in (301, 302, 307, 308):
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        return web.Response(status=status, text="x" * 100_000)

    async def _slowly(self, request: web.Request) -> web.StreamResponse:
        """The status after a while, and a body that never ends."""
        await asyncio.sleep(0.2)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(3600)
        return response

    async def follow(self, request: web.Request) -> web.StreamResponse:
        self.elsewhere += 1
        return web.Response()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port of the loopback."""
    made = Receiver()
    app = web.Application()
    app.router.add_post("/in/token", made.take)
    app.router.add_route("*", "/elsewhere", made.follow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/in/token"
    try:
        yield made
    finally:
        await runner.cleanup()
