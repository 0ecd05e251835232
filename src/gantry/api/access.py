"""Who is calling: the operator on the Unix socket, a client's certificate, or a user's password.

Only ``read`` and ``write`` are decided here. Whether a job may do what it asks is not.
"""

from __future__ import annotations

import base64
import binascii
import functools
import pwd
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from gantry.api.caller import Caller, Rights
from gantry.api.errors import Forbidden, Handler, Unauthorized
from gantry.api.users import Users
from gantry.model.errors import Rejected
from gantry.model.identity import Role, parse
from gantry.model.names import Uuid
from gantry.ports.queue import Queue

OPEN: Final = frozenset({("GET", "/gantry/1/ca"), ("POST", "/gantry/1/join")})
"""What may be asked without credentials; joining is protected by its token."""
_READING: Final = ("GET", "HEAD")
_WRITING: Final = frozenset({"console"})
"""Resources that are asked for with GET and are more than reading, by the path's last part."""
_NOBODY: Final = Caller("", Rights.NONE)
_PEER: Final = struct.Struct("3i")
_CALLER: Final = web.RequestKey("caller", Caller)


def caller(request: web.Request) -> Caller:
    """Who sent the request, as the gate found out."""
    found: Caller = request[_CALLER]
    return found


class Gate:
    """The middleware that lets requests in; ``users`` is None where there are no passwords."""

    def __init__(self, queue: Queue, users: Users | None) -> None:
        self._queue = queue
        self._users = users

    def middleware(self) -> Any:
        """For aiohttp."""

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            request[_CALLER] = await self._admit(request)
            return await handler(request)

        return gate

    async def _admit(self, request: web.Request) -> Caller:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family == socket.AF_UNIX:
            return _local(connection)
        if (request.method, request.path) in OPEN:
            return _NOBODY
        found = self._certified(transport.get_extra_info("peercert"))
        found = found or await self._named(request.headers.get("Authorization", ""))
        _allow(request, found)
        return found

    def _certified(self, certificate: Mapping[str, Any] | None) -> Caller | None:
        """The holder of a client's certificate of this cluster; the handshake has verified it."""
        for kind, value in (certificate or {}).get("subjectAltName", ()):
            identity = parse(value) if kind == "URI" else None
            if (
                identity is not None
                and identity.role is Role.CLIENT
                and identity.cluster == self._cluster()
            ):
                return Caller(identity.who, Rights.WRITE)
        return None

    def _cluster(self) -> Uuid:
        return self._queue.snapshot().cluster.uuid

    async def _named(self, header: str) -> Caller:
        scheme, _, encoded = header.partition(" ")
        if self._users is None or scheme.lower() != "basic":
            raise _unknown()
        try:
            text = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise _unknown() from None
        name, _, password = text.partition(":")
        found = await self._users.caller(name, password)
        if found is None:
            raise _unknown()
        return found


def _allow(request: web.Request, who: Caller) -> None:
    reading = request.method in _READING and request.path.rpartition("/")[2] not in _WRITING
    if who.rights is not Rights.WRITE and not reading:
        raise Forbidden(
            f"user {who.name} may only read", "ask for the right write in the file of users"
        )
    # A form on a foreign page can send a body too, but not as JSON.
    if request.method == "POST" and request.content_type != "application/json":
        raise Rejected("a body must be sent as application/json")


def _unknown() -> Unauthorized:
    return Unauthorized(
        "the API does not know you",
        "use a client certificate of the cluster, or a name and password of its file of users",
    )


def _local(connection: Any) -> Caller:
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _of_user(_PEER.unpack(peer)[1])


@functools.lru_cache(maxsize=256)
def _of_user(number: int) -> Caller:
    try:
        return Caller(pwd.getpwuid(number).pw_name, Rights.WRITE)
    except KeyError:
        return Caller(f"uid {number}", Rights.WRITE)
