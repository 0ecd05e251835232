"""The bodies of requests and the lines of answers between master and agent.

An answer is one JSON object, or several, one a line, where an order takes longer: progress
(``{"progress": …}``), signs of life (``{}``), and last ``{"answer": …}`` or ``{"error": …}``.

``/1/orders`` is a WebSocket for many orders at a time: frames of lines in both directions, each
with the call's number as ``id``. An error of number 0 means that the agent listens to no call.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.model.errors import ErrorInfo
from gantry.model.names import Uuid
from gantry.model.orders import AnyOrder, AnyQuestion
from gantry.ports.agents import Envelope
from gantry.ports.agents import Event as Event  # what /1/events streams

ORDER: Final = "/1/order"
ORDERS: Final = "/1/orders"
ASK: Final = "/1/ask"
CANCEL: Final = "/1/cancel"
FORGET: Final = "/1/forget"
ANNOUNCE: Final = "/1/announce"
EVENTS: Final = "/1/events"
CONSOLE: Final = "/1/console/"
MAX_REQUEST: Final = 8 * 1024 * 1024
"""Bytes of a request's body."""
MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line of an answer: the facts of a node with many guests, the output of hooks."""
STREAM_AFTER: Final = 0.5
"""Seconds after which an order that has said nothing is answered in lines."""

ALIVE: Final = b"{}\n"


class OrderRequest(msgspec.Struct, frozen=True):
    """Body of ``/1/order``."""

    envelope: Envelope
    order: AnyOrder


class AskRequest(msgspec.Struct, frozen=True):
    """Body of ``/1/ask``; the time limit is in seconds."""

    question: AnyQuestion
    timeout: float


class CancelRequest(msgspec.Struct, frozen=True):
    """Body of ``/1/cancel``."""

    key: str
    epoch: int


class ForgetRequest(msgspec.Struct, frozen=True):
    """Body of ``/1/forget``."""

    prefixes: tuple[str, ...]
    epoch: int


class Call(msgspec.Struct, frozen=True):
    """One line to ``/1/orders``: an order with its envelope, or effects to forget."""

    id: int
    envelope: Envelope | None = None
    order: AnyOrder | None = None
    forget: ForgetRequest | None = None


class Number(msgspec.Struct, frozen=True):
    """What can be read of a line that cannot be read otherwise."""

    id: int = 0


class ForgetCall(msgspec.Struct, frozen=True):
    """The fields of a call that forgets."""

    forget: ForgetRequest


class AnnounceRequest(msgspec.Struct, frozen=True):
    """Body of ``/1/announce``: the master's epoch, and the node that it runs on."""

    epoch: int
    node: Uuid | None = None


class Line(msgspec.Struct, frozen=True):
    """One line of an answer."""

    answer: msgspec.Raw = msgspec.Raw()
    error: ErrorInfo | None = None
    progress: str | None = None


class NumberedLine(msgspec.Struct, frozen=True):
    """One line from ``/1/orders``."""

    id: int = 0
    answer: msgspec.Raw = msgspec.Raw()
    error: ErrorInfo | None = None
    progress: str | None = None


_encoder: Final = msgspec.json.Encoder()
encode: Final = _encoder.encode


def answer(value: msgspec.Struct) -> bytes:
    """The last line: what came of it."""
    return b'{"answer":' + _encoder.encode(value) + b"}\n"


def error(info: ErrorInfo) -> bytes:
    """The last line: what went wrong."""
    return b'{"error":' + _encoder.encode(info) + b"}\n"


def progress(text: str) -> bytes:
    """A line for the job's log."""
    return b'{"progress":' + _encoder.encode(text) + b"}\n"


def lines(frame: bytes) -> list[bytes]:
    """The JSON objects of a frame. (``splitlines`` looks for line ends of all kinds, which takes
    as long as to read a large order.)"""
    return [line for line in frame.split(b"\n") if line]


def numbered(number: int, line: bytes) -> bytes:
    """A JSON object, with or without its line end, as a line of that call."""
    body = line.strip()
    if body == b"{}":
        return b'{"id":%d}\n' % number
    return b'{"id":%d,%b\n' % (number, body[1:])
