"""Who calls: the operator on the Unix socket, a client's or node's certificate, or a password.

Only ``read`` and ``write`` are decided here. Whether a job may do what it asks is not.
"""

from __future__ import annotations

import base64
import binascii
import functools
import pwd
import socket
import ssl
import struct
import time
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from gantry.api.caller import Caller, Rights
from gantry.api.errors import Forbidden, Handler, Unauthorized
from gantry.api.users import Users
from gantry.model.errors import Rejected
from gantry.model.identity import Identity, Role, parse
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
        """The holder of a certificate of this cluster; the handshake has verified its issuer."""
        if not certificate:
            return None
        for kind, value in certificate.get("subjectAltName", ()):
            identity = parse(value) if kind == "URI" else None
            if identity is None or identity.cluster != self._cluster():
                continue
            if identity.role in (Role.CLIENT, Role.NODE):
                _must_hold(certificate)
            if identity.role is Role.CLIENT:
                return Caller(identity.who, Rights.WRITE)
            if identity.role is Role.NODE:
                return self._node(identity)
        return None

    def _node(self, identity: Identity) -> Caller:
        """A node: one that could be the master may do what a master's operator may."""
        cluster = self._queue.snapshot()
        node = cluster.nodes.get(Uuid(identity.who))
        if node is None:
            raise Unauthorized(
                "this machine is not a node of the cluster",
                "one that has joined becomes a node by gnt-node add on the master; one that was "
                "removed joins again with a new token (gantry token, gantry join)",
            )
        name = f"node:{node.name}"
        if node.master_candidate and not node.offline:
            return Caller(name, Rights.WRITE)
        state = "is marked offline" if node.offline else "is no master candidate"
        return Caller(
            name,
            Rights.READ,
            f"node {node.name} {state}, so from here the cluster can only be looked at",
            f"type it on the master, {cluster.master.name}, or on a master candidate"
            + ("" if node.offline else f"; gnt-node modify -C yes {node.name} makes it one"),
        )

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
            who.refusal or f"user {who.name} may only read",
            who.hint or "ask for the right write in the file of users",
        )
    # A form on a foreign page can send a body too, but not as JSON.
    if request.method == "POST" and request.content_type != "application/json":
        raise Rejected("a body must be sent as application/json")


def _must_hold(certificate: Mapping[str, Any]) -> None:
    """Expired certificates pass the handshake, so that they can be refused in words."""
    if ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
        raise Unauthorized(
            f"your certificate expired at {certificate['notAfter']}",
            "a node joins again with a new token: gantry token NAME on the master, gantry join "
            "on the node; its name, guests and files stay",
        )


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
