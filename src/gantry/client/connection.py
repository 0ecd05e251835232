"""The API of the master, wherever it is: one HTTP/1.0 request a connection.

A master on this node is asked over its Unix socket, one elsewhere over TLS (``client.remote``).
Standard library only, and little of it: every ``gnt-*`` command pays for what is imported
here. What a command says or shows is not decided here.
"""

from __future__ import annotations

import json
import time

from gantry.client import paths, plain_socket
from gantry.client.errors import (
    ApiError,
    ClientError,
    MasterDown,
    MasterLost,
    NotMaster,
    from_answer,
)
from gantry.model import timeouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from gantry.client.remote import Peer

BASE = "/gantry/1/"
_WAITING = ("wait=1", "/wait")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~,")
_PATH = _PLAIN | frozenset(b"/?&=%+:@*")
_MOST_HEAD = 65536


def quoted(text: str, plain: frozenset[int] = _PLAIN) -> str:
    """``text`` for one part of a URL."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in data)


class Connection:
    """To the master of the cluster at ``root`` (else ``$GANTRY_ROOT``, else ``/``).

    All methods raise ``ApiError`` (the master's own error) and ``ClientError`` (no answer).
    Paths are below ``/gantry/1/`` and may have a query already; names in them must have been
    ``quoted`` where they come from a user. ``query`` values are quoted here.
    """

    def __init__(self, root: str | None = None, *, patient: bool = True) -> None:
        """``patient``: where there is no master now, but will be soon, it is waited for."""
        self.root = paths.root_of(root)
        self._patient = patient
        self.peer: Peer | None = None
        """The node that was asked last; None for the master of this node."""
        self._silent_here = False

    def get(self, path: str, **query: str) -> Any:
        """What ``GET`` answers; where a master here hangs, the one that took over is asked too."""
        try:
            return self._once("GET", _with(path, query), None)
        except MasterLost as lost:
            if not self._silent_here:
                raise
            try:
                return self._once("GET", _with(path, query), None)
            except ClientError:
                raise lost from None

    def post(self, path: str, body: Any = None, **query: str) -> Any:
        """What ``POST`` answers; ``body`` becomes JSON."""
        return self._once("POST", _with(path, query), {} if body is None else body)

    def stream(self, method: str, path: str, body: Any = None) -> Iterator[dict[str, Any]]:
        """The lines of an answer, as they come. The request is sent, and refused, at once."""
        reader = self._send(method, path, body, timeouts.CLIENT_READ)
        plain_socket.patience(reader, timeouts.STREAM_READ)
        return self._lines(reader)

    def _once(self, method: str, path: str, body: Any) -> Any:
        endless = any(word in path for word in _WAITING)
        with self._send(method, path, body, None if endless else timeouts.CLIENT_READ) as reader:
            try:
                data = reader.read()
            except OSError as error:
                raise self._lost(error) from error
        return _decoded(data)

    def _lines(self, reader: Any) -> Iterator[dict[str, Any]]:
        with reader:
            while True:
                try:
                    line = reader.readline()
                except OSError as error:
                    raise self._lost(error) from error
                if not line:
                    return
                if line == b"\n":
                    continue
                value = _decoded(line)
                if "error" in value and len(value) == 1:
                    raise from_answer(value["error"])
                yield value

    def _send(self, method: str, path: str, body: Any, timeout: float | None) -> Any:
        """A reader that stands at the answer's body; an answer that is an error is raised."""
        reader = self.open(_request(method, path, body), timeout)
        try:
            status = _head(reader)
            if status >= 400:
                raise _refused(status, reader.read())
        except OSError as error:
            reader.close()
            raise self._lost(error) from error
        except (ApiError, ClientError):
            reader.close()
            raise
        return reader

    def open(self, request: bytes, timeout: float | None) -> Any:
        """Connect and send ``request``; the buffered reader of what comes back."""
        connection = self._connect()
        try:
            connection.sendall(request)
        except OSError as error:
            connection.close()
            raise self._lost(error) from error
        connection.settimeout(timeout)
        return plain_socket.reader(connection)

    def _connect(self) -> Any:
        """A connection to the master, here or on another node, or why there is none."""
        # Who has had a master, and lost it, looks for the next one by himself.
        patient, self._patient = self._patient, False
        began = time.monotonic()
        try:
            return self._reach()
        except (MasterDown, NotMaster) as error:
            why = error
        from gantry.client import remote

        seconds = remote.patience(self.root) if patient else 0.0
        if not seconds:
            raise why
        return remote.insist(self._reach, began, seconds)

    def _reach(self) -> Any:
        self.peer = None
        if self._silent_here:
            self._silent_here = False
            return self._elsewhere(TimeoutError("it says nothing"))
        try:
            return plain_socket.connect(paths.socket_path(self.root), timeouts.CONNECT)
        except OSError as error:
            return self._elsewhere(error)

    def _elsewhere(self, why: OSError) -> Any:
        from gantry.client import remote

        connection, self.peer = remote.connect(self.root, why)
        return connection

    def _lost(self, error: OSError) -> ClientError:
        """What became of a master that was there; one that hangs here is not asked next."""
        self._silent_here = self.peer is None and isinstance(error, TimeoutError)
        what = "said nothing in time" if isinstance(error, TimeoutError) else "went away"
        return MasterLost(
            f"the master {what} while this command waited for its answer",
            "gnt-job list shows what became of a job; the master's log may say more",
        )


def _with(path: str, query: dict[str, str]) -> str:
    if not query:
        return path
    text = "&".join(f"{name}={quoted(str(value))}" for name, value in query.items())
    return f"{path}{'&' if '?' in path else '?'}{text}"


def _request(method: str, path: str, body: Any) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {BASE}{quoted(path, _PATH)} HTTP/1.0\r\nHost: gantry\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode("ascii") + data


def _head(reader: Any) -> int:
    """Read up to the empty line; the status."""
    first = reader.readline(_MOST_HEAD)
    while reader.readline(_MOST_HEAD) not in (b"\r\n", b"\n", b""):
        pass
    parts = first.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        raise MasterLost(
            "the master closed the connection without an answer",
            "try again; where it stays so, its log says why",
        )
    return int(parts[1])


def _refused(status: int, data: bytes) -> ApiError:
    try:
        return from_answer(json.loads(data)["error"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ApiError("error", f"the master answered with HTTP status {status}")


def _decoded(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise MasterLost(
            "the master's answer broke off", "gnt-job list shows what became of a job"
        ) from error
