"""Asking a server of the NBD protocol whether it lives, and what it exports.

One conversation, in TLS with the node's own certificate, in which no export is opened: it costs
the server a handshake. Numbers are those of the protocol's description (NetworkBlockDevice/nbd,
doc/proto.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from typing import Final

_GREETING: Final = b"NBDMAGICIHAVEOPT"
_OPTION: Final = b"IHAVEOPT"
_FLAGS: Final = struct.pack(">I", 3)
"""Fixed newstyle, no zeroes."""
_ABORT: Final = 2
_LIST: Final = 3
_STARTTLS: Final = 5
_ANSWER: Final = struct.Struct(">QIII")
_MAGIC: Final = 0x3E889045565A9
_ACK: Final = 1
_SERVER: Final = 2
_MOST: Final = 4096


_AGAIN: Final = 0.003
"""Seconds between two questions to a server that is about to export something."""


async def exports(
    host: str, port: int, tls: ssl.SSLContext, name: str, *, until: str = ""
) -> list[str]:
    """The names of what the server whose certificate is for ``name`` exports to us.

    ``until``: asked again, in the same conversation, until that is among them. QEMU's server ends
    a conversation after 10 s. OSError (ssl.SSLError is one), EOFError: it does not answer as it
    should.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        await _greeted(reader, writer)
        await _ask(writer, _STARTTLS)
        if (await _answer(reader))[0] != _ACK:
            raise ConnectionError("the server speaks no TLS")
        await writer.start_tls(tls, server_hostname=name)
        while True:
            found = await _listed(reader, writer)
            if not until or until in found:
                await _ask(writer, _ABORT)
                return found
            await asyncio.sleep(_AGAIN)  # a server tells nobody what it begins to export
    finally:
        writer.transport.abort()


async def _listed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[str]:
    await _ask(writer, _LIST)
    found = list[str]()
    while True:
        kind, data = await _answer(reader)
        if kind == _ACK:
            return found
        if kind != _SERVER:
            raise ConnectionError("the server does not say what it exports")
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size].decode(errors="replace"))


async def greets(host: str, port: int) -> bool:
    """Whether a server greets there at all; nothing is known of who it is."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    try:
        await _greeted(reader, writer)
        await _ask(writer, _ABORT)
        with contextlib.suppress(EOFError, OSError):
            await reader.read(1)
        return True
    except (EOFError, OSError):
        return False
    finally:
        writer.transport.abort()


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    greeting = await reader.readexactly(len(_GREETING) + 2)
    if not greeting.startswith(_GREETING):
        raise ConnectionError("no server of NBD answers")
    writer.write(_FLAGS)


async def _ask(writer: asyncio.StreamWriter, option: int) -> None:
    writer.write(_OPTION + struct.pack(">II", option, 0))
    await writer.drain()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readexactly(_ANSWER.size)
    magic, _, kind, size = _ANSWER.unpack(head)
    if magic != _MAGIC or size > _MOST:
        raise ConnectionError("the server answers what is not NBD")
    return kind, await reader.readexactly(size)
