"""One signed request to a web server; nothing is decided about the next one."""

from __future__ import annotations

import hashlib
import hmac
import os
import ssl
from typing import Final, Self

import aiohttp

from gantry.model import timeouts
from gantry.model.entities import Webhook

SIGNATURE: Final = "X-Gantry-Signature"
_OK: Final = range(200, 300)
_ELSEWHERE: Final = range(300, 400)


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 of the body, as the header has it: ``sha256=`` and hexadecimal digits."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Poster:
    """A session with one web server. It follows no redirection and reads no answer's body."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes, number: str, attempt: int) -> str:
        """Send it; what went wrong, in words without the address, or nothing."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "gantry-webhook/1",
            "X-Gantry-Delivery": number,
            "X-Gantry-Attempt": str(attempt),
            SIGNATURE: signature(self._webhook.secret, body),
        }
        try:
            async with self._opened().post(
                self._webhook.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status = response.status
                response.close()
        except TimeoutError:
            return f"no answer within {timeouts.WEBHOOK:g} seconds"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _words(error)
        if status in _OK:
            return ""
        if status in _ELSEWHERE:
            return f"it answers {status}: redirections are not followed"
        return f"it answers {status}"

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            trusted = ssl.create_default_context(cadata=self._webhook.ca or None)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, limit=1, force_close=True),
                timeout=aiohttp.ClientTimeout(total=timeouts.WEBHOOK),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session


def _words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return f"cannot connect: {error.os_error.strerror or error.os_error}"
        case ssl.SSLError():
            return f"no TLS with it: {error.reason}"
        case OSError():
            # In its own words there may be the address, as where a request cannot be written.
            why = os.strerror(error.errno) if error.errno else "the connection ended"
            return f"cannot connect: {why}"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case _:
            return f"it does not speak HTTP as it should ({type(error).__name__})"
