"""A Unix socket as a buffered reader, at the least cost to load.

``socket`` is a layer of names and enums over ``_socket``; loading it takes longer than a request
to the master, and every ``gnt-*`` command would pay for it. Of that layer only this is needed.
"""

from __future__ import annotations

import io
from _socket import AF_UNIX, SOCK_STREAM, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BUFFER = 65536


def connect(path: str, timeout: float) -> socket:
    """A connection to the socket at ``path``; OSError."""
    connection = socket(AF_UNIX, SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def reader(connection: socket) -> io.BufferedReader:
    """What comes over the connection, which is closed with the reader.

    Reading raises OSError, TimeoutError where nothing came in the connection's own time.
    """
    return io.BufferedReader(_Raw(connection), _BUFFER)


def patience(stream: io.BufferedReader, seconds: float) -> None:
    """How long one reading may wait from now on."""
    raw = stream.raw
    assert isinstance(raw, _Raw)
    raw.patience(seconds)


class _Raw(io.RawIOBase):
    def __init__(self, connection: socket) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.recv_into(buffer)

    def patience(self, seconds: float) -> None:
        self._connection.settimeout(seconds)

    def close(self) -> None:
        if not self.closed:
            self._connection.close()
        super().close()
