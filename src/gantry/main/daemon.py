"""What agent and master have in common: their logs, their memory, saying that they are ready."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import socket
import stat
from pathlib import Path
from typing import Final

_TLS_BUFFER: Final = 17 * 1024
"""A record is at most 16 KiB and a few hundred bytes."""
_SOCKET_BUFFER: Final = 64 * 1024
_BYTES: Final = 5_000_000


class _Rotating(logging.handlers.RotatingFileHandler):
    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - theirs
        """Neither makes the line, as theirs does once more, nor looks the file up by its name."""
        if self.stream is None:
            self.stream = self._open()
        status = os.fstat(self.stream.fileno())
        return stat.S_ISREG(status.st_mode) and status.st_size >= self.maxBytes


def log_file(path: Path) -> logging.Handler:
    """A log that is rotated when it has 5 MB, three kept; opened with the first line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _Rotating(path, maxBytes=_BYTES, backupCount=3, delay=True)
    form = logging.Formatter(
        "time=%(asctime)s.%(msecs)03d level=%(levelname)s logger=%(name)s %(message)s",
        "%Y-%m-%dT%H:%M:%S",
    )
    handler.setFormatter(form)
    return handler


def log_to(path: Path) -> None:
    """Everything of level INFO and above to a file."""
    log_with(log_file(path))


def log_with(handler: logging.Handler) -> None:
    """Everything of level INFO and above to that handler, and to no other.

    With ``GANTRY_LOG=debug`` in the environment all that is ours, of any level.
    """
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if os.environ.get("GANTRY_LOG") == "debug":
        logging.getLogger("gantry").setLevel(logging.DEBUG)


def save_memory() -> None:
    """Once, before the first connection: what the standard library takes for each is too much.

    TLS reads into a buffer of 256 KiB, made at once and full of zeros, though no record is longer
    than 16 KiB. With three connections to each of a hundred nodes that is a third of a master.
    What comes over other sockets is read into a buffer as large, to be cut down again.
    """
    # Here, since a master process that only waits needs no asyncio.
    from asyncio import selector_events
    from asyncio.sslproto import SSLProtocol

    SSLProtocol.max_size = _TLS_BUFFER
    vars(selector_events)["_SelectorSocketTransport"].max_size = _SOCKET_BUFFER


def say_ready(descriptor: int | None) -> None:
    """Tell whoever started us: a pipe's end, and systemd (sd_notify(3))."""
    if descriptor is not None:
        # Whoever started us may have been ended meanwhile; that is no reason to end too.
        with contextlib.suppress(BrokenPipeError):
            os.write(descriptor, b"ready\n")
        os.close(descriptor)
    address = os.environ.pop("NOTIFY_SOCKET", None)
    if address is not None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")
