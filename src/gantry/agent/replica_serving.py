"""What is served of a node's replicas, where that is kept, and the socket it is served at."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.backup_orders import Peer
from gantry.model.orders import DiskSpec

FILE: Final = "serving.json"
CERTIFICATES: Final = "run/gantry/replicas-tls"


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What is served to whom and where; ``pid`` and ``started`` name the daemon."""

    disk: DiskSpec
    peer: Peer
    host: str
    port: int
    content: str
    pid: int = 0
    started: int = 0


def read(directory: Path) -> Serving:
    """OSError, msgspec.MsgspecError: nobody can say what is served there."""
    return msgspec.json.decode((directory / FILE).read_bytes(), type=Serving)


def write(directory: Path, served: Serving) -> None:
    """It is on disk when this returns. OSError."""
    made = directory / f".{FILE}.new"
    with made.open("wb") as file:
        file.write(msgspec.json.encode(served))
        file.flush()
        os.fsync(file.fileno())
    made.replace(directory / FILE)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any. OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Those that it accepts inherit it: a node that has gone does not hold a place for ever.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 5)):
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        # QEMU 7.2 leaves it off: a handshake's short words would wait for what the other side
        # puts off acknowledging, 40 ms each time.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


def takes_direct(path: str) -> bool:
    """Whether its file system knows O_DIRECT."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def last_words(path: Path) -> str:
    """What a daemon wrote to the file of its errors at last."""
    try:
        lines = path.read_text(errors="replace")[-4096:].splitlines()
    except OSError:
        return ""
    said = [line.partition(": ")[2] or line for line in lines if "option negotiation" not in line]
    return "; ".join(line.strip() for line in said[-3:])


def same(known: Serving, disk: DiskSpec, peer: Peer, host: str) -> bool:
    """Whether that is what is known to be served."""
    wanted = (disk.path, disk.generation, peer.node, host)
    return (known.disk.path, known.disk.generation, known.peer.node, known.host) == wanted
