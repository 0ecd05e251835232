"""Joins a terminal (or a pipe) to a websocket: raw mode, and Ctrl-] to leave."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
import tty
from typing import Any, Final

import aiohttp

_LEAVE: Final = b"\x1d"
_CHUNK: Final = 4096


class Refused(Exception):
    """There is no websocket to be had; the master says why to a plain request."""


def attach(socket_path: str, path: str) -> None:
    """Carry bytes both ways until the guest's end, ours, or Ctrl-]; ``Refused``."""
    descriptor = sys.stdin.fileno()
    saved: list[Any] | None = termios.tcgetattr(descriptor) if sys.stdin.isatty() else None
    try:
        if saved is not None:
            tty.setraw(descriptor)
        asyncio.run(_join(socket_path, path))
    except aiohttp.WSServerHandshakeError as error:
        raise Refused(str(error)) from error
    finally:
        if saved is not None:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
            sys.stderr.write("\r\nleft the console\n")


async def _join(socket_path: str, path: str) -> None:
    connector = aiohttp.UnixConnector(socket_path)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(f"http://localhost{path}") as socket,
    ):
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
