"""Unix sockets in a directory of any depth.

The kernel takes 107 bytes of path; a cluster's directory may be longer. So sockets are bound
and connected through ``/proc/self/fd/N/NAME``, N being the open directory: short, whatever
the depth. We listen ourselves and hand the socket to QEMU, which never needs the path: there
is nothing to wait for before connecting, and a QEMU that fails shows as a closed connection.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def listen(directory: Path, name: str) -> socket.socket:
    """A listening socket ``directory/name``, in place of one left there; OSError."""
    (directory / name).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(directory) as short:
            listener.bind(f"{short}/{name}")
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def connect(directory: Path, name: str) -> socket.socket:
    """A non-blocking connection to it; OSError where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        with _short(directory) as short:
            # On a unix socket this is done at once, or fails with EAGAIN: it never waits.
            connection.connect(f"{short}/{name}")
    except OSError:
        connection.close()
        raise
    return connection


def monitor_options(listener: int, *, waits: bool = True) -> list[str]:
    """A storage daemon's monitor at an inherited listening socket.

    ``waits``: it goes on once somebody has connected. If it does not wait, nobody may connect
    before it does what it is for: a connection that is there when its main loop begins may be
    accepted before the monitor is, which then never says anything (QEMU 7.2: 3 of 600 starts).
    """
    chardev = f"socket,id=monitor,fd={listener},server=on,wait={'on' if waits else 'off'}"
    return ["--chardev", chardev, "--monitor", "chardev=monitor"]


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)
