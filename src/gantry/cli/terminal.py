"""Joins a terminal (or a pipe) to a websocket: raw mode, and Ctrl-] to leave."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from typing import Any, Final

import aiohttp

from gantry.client import paths
from gantry.client.connection import Connection

_LEAVE: Final = b"\x1d"
_CHUNK: Final = 4096


class Refused(Exception):
    """There is no websocket to be had; the master says why to a plain request."""


def attach(master: Connection, path: str) -> None:
    """Carry bytes both ways until the guest's end, ours, or Ctrl-]; ``Refused``.

    ``master`` has just been asked something, so it is known where it answers.
    """
    descriptor = sys.stdin.fileno()
    saved: list[Any] | None = termios.tcgetattr(descriptor) if sys.stdin.isatty() else None
    try:
        if saved is not None:
            tty.setraw(descriptor)
        asyncio.run(_join(master, path))
    except aiohttp.WSServerHandshakeError as error:
        raise Refused(str(error)) from error
    finally:
        if saved is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
            sys.stderr.write("\r\nleft the console\n")


async def _join(master: Connection, path: str) -> None:
    connector, url = _way(master)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(url + path) as socket,
    ):
        _must_be_master(master, socket)
        typed: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        descriptor = sys.stdin.fileno()
        reading = asyncio.create_task(_type(socket, typed))
        try:
            _listen(loop, descriptor, typed)
            await _print(socket, reading)
        finally:
            reading.cancel()
            loop.remove_reader(descriptor)


def _way(master: Connection) -> tuple[aiohttp.BaseConnector, str]:
    if master.peer is None:
        return aiohttp.UnixConnector(paths.socket_path(master.root)), "http://localhost"
    from gantry.client import remote

    host = f"[{master.peer.host}]" if ":" in master.peer.host else master.peer.host
    connector = aiohttp.TCPConnector(ssl=remote.context(master.root))
    return connector, f"https://{host}:{master.peer.port}"


def _must_be_master(master: Connection, socket: aiohttp.ClientWebSocketResponse) -> None:
    """Before anything that was typed is sent: the handshake does not look at roles."""
    if master.peer is None:
        return
    from gantry.client import remote

    if not remote.is_api(master.root, socket.get_extra_info("peercert")):
        raise Refused(f"what answers at {master.peer} is not the master of this cluster")


def _listen(loop: asyncio.AbstractEventLoop, descriptor: int, typed: asyncio.Queue[bytes]) -> None:
    def ready() -> None:
        data = os.read(descriptor, _CHUNK)
        typed.put_nowait(data)
        if not data:
            loop.remove_reader(descriptor)

    try:
        loop.add_reader(descriptor, ready)
    except PermissionError:
        # A file or /dev/null cannot be waited for: it is read at once.
        while data := os.read(descriptor, _CHUNK):
            typed.put_nowait(data)


async def _type(socket: aiohttp.ClientWebSocketResponse, typed: asyncio.Queue[bytes]) -> None:
    """Send what is typed; a pipe's end is not the console's end."""
    while data := await typed.get():
        head, leave, _ = data.partition(_LEAVE) if sys.stdin.isatty() else (data, b"", b"")
        if head:
            await socket.send_bytes(head)
        if leave:
            await socket.close()
            return


async def _print(socket: aiohttp.ClientWebSocketResponse, reading: asyncio.Task[None]) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            os.write(sys.stdout.fileno(), message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            os.write(sys.stderr.fileno(), message.data.encode() + b"\r\n")
