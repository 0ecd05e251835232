"""Where the API listens: the Unix socket for the operator, TLS for everybody else.

Certificates come from outside as an ``ssl.SSLContext``; nothing here reads a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import shutil
import socket
import ssl
from pathlib import Path
from typing import Final

from aiohttp import web

from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason
from gantry.network.listening import Limits, listen

GROUP: Final = "gantry"
"""Its members may use the socket, where it exists."""
_MODE: Final = 0o660
_BACKLOG: Final = 256
LIMITS: Final = Limits(connections=512, each=128)
"""Of the port; the socket's clients are the operator's own."""


class Server:
    """``await Server.start(app, …)``, and ``close()`` in the end."""

    def __init__(self, runner: web.AppRunner, path: Path) -> None:
        self._runner = runner
        self._path = path
        self._inode = path.stat().st_ino
        self.port: int | None = None
        """The port of TLS, also where 0 was asked for."""

    @classmethod
    async def start(
        cls,
        app: web.Application,
        path: Path,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "",
        port: int = 5080,
        limits: Limits = LIMITS,
    ) -> Server:
        """Listen on the socket ``path`` and, with ``tls``, on ``host``:``port``.

        Who holds the mastership owns the path: a socket that lies there is taken away.
        OperationFailed where an address cannot be had.
        """
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=timeouts.KILL_GRACE,
            keepalive_timeout=timeouts.IDLE,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, _listen(path), backlog=_BACKLOG).start()
            server = cls(runner, path)
            if tls is not None:
                server.port = await listen(runner, tls, host, port, limits)
        except OSError as error:
            await runner.cleanup()
            path.unlink(missing_ok=True)
            raise OperationFailed(
                f"the API cannot listen: {error}",
                "does another program use the address? see ss -lntx",
                reason=Reason.ENVIRONMENT,
            ) from error
        return server

    async def leave(self) -> None:
        """Stop listening at once; what is under way is not waited for."""
        self._unlink()
        await asyncio.gather(*(site.stop() for site in tuple(self._runner.sites)))

    async def close(self) -> None:
        """Stop listening; requests under way get a few seconds."""
        await self._runner.cleanup()
        self._unlink()

    def _unlink(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            # A new master may have put its own socket there meanwhile.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _listen(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        before = os.umask(0o177)
        try:
            listening.bind(str(part))
        finally:
            os.umask(before)
        with contextlib.suppress(KeyError, PermissionError):
            shutil.chown(part, group=grp.getgrnam(GROUP).gr_name)
        part.chmod(_MODE)
        listening.listen(_BACKLOG)
        # In place at once: nobody finds a socket that does not listen yet, or with wrong rights.
        part.rename(path)
    except OSError:
        listening.close()
        part.unlink(missing_ok=True)
        raise
    return listening
