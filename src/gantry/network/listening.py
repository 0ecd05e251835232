"""TLS ports that strangers can reach: what one of them may cost is bounded before TLS begins.

A connection costs a quarter of a MiB from its first byte on, since asyncio makes TLS's buffers
at once. So connections are counted when they are accepted, and one that does not finish its
handshake is closed. What is said over them, and who may say it, is not known here.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from typing import Any, Final

import msgspec

from gantry.model import timeouts
from gantry.network import web

_BACKLOG: Final = 512


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``connections`` at a time, and of these ``each`` from one address; ``handshake`` seconds."""

    connections: int
    each: int
    handshake: float = timeouts.HANDSHAKE


class _Visitors:
    """How many are here, by address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._here: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> bool:
        """Count one, or say no."""
        if self._all >= self._limits.connections or self._here[address] >= self._limits.each:
            return False
        self._here[address] += 1
        self._all += 1
        return True

    def leave(self, address: str) -> None:
        """One is gone."""
        self._all -= 1
        self._here[address] -= 1
        if not self._here[address]:
            del self._here[address]


class _Visitor(socket.socket):
    """An accepted connection; counted until it is closed."""

    _leave: tuple[_Visitors, str] | None = None

    @classmethod
    def of(cls, accepted: socket.socket, visitors: _Visitors, address: str) -> _Visitor:
        """The same connection, which ``visitors`` has counted."""
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        visitor = cls(family, kind, protocol, fileno=accepted.detach())
        visitor._leave = (visitors, address)
        return visitor

    def close(self) -> None:
        """Close it; it counts no more."""
        if self._leave is not None:
            visitors, address = self._leave
            self._leave = None
            visitors.leave(address)
        super().close()


class _Door(socket.socket):
    """A listening socket that closes what is too much at once."""

    visitors: _Visitors

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; ConnectionAbortedError for one that was refused.

        The event loop takes that for a client that went away, and comes back for the next one.
        """
        accepted, address = super().accept()
        if not self.visitors.enter(address[0]):
            accepted.close()
            raise ConnectionAbortedError(errno.ECONNABORTED, "too many connections")
        return _Visitor.of(accepted, self.visitors, address[0]), address


class _Site(web.BaseSite):
    """One door of a runner."""

    def __init__(
        self, runner: web.BaseRunner, door: _Door, tls: ssl.SSLContext, handshake: float
    ) -> None:
        super().__init__(runner, ssl_context=tls, backlog=_BACKLOG)
        self._door = door
        self._handshake = handshake

    @property
    def name(self) -> str:
        """Its address, for aiohttp's own messages."""
        return "https://{}:{}".format(*self._door.getsockname()[:2])

    async def start(self) -> None:
        """Accept connections; the runner closes it."""
        await super().start()
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            sock=self._door,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=self._handshake,
            ssl_shutdown_timeout=self._handshake,
        )


async def listen(
    runner: web.BaseRunner, tls: ssl.SSLContext, host: str, port: int, limits: Limits
) -> int:
    """Accept connections for ``runner``, on all addresses where ``host`` is empty; the port.

    OSError where an address cannot be had; what was begun is the runner's to clean up.
    """
    visitors = _Visitors(limits)
    for family, address in await _addresses(host, port):
        door = _bound(family, address)
        door.visitors = visitors
        await _Site(runner, door, tls, limits.handshake).start()
        port = door.getsockname()[1]
    return port


async def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    usable = [(family, address) for family, _, _, _, address in found if _known(family)]
    return list(dict.fromkeys(usable))


def _known(family: int) -> bool:
    """Whether the machine speaks it: IPv6 may be switched off."""
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _bound(family: int, address: Any) -> _Door:
    door = _Door(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(address)
    except OSError:
        door.close()
        raise
    return door
