"""Images from URLs, which a node keeps: fetched by ``curl``, and again where there is a newer one.

Redirects are followed here and not by curl, so that none leads to an address that the operator
did not name and that only this node reaches: what is there would be in a guest's disk then.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from weakref import WeakValueDictionary

from gantry.host import command, own_addresses
from gantry.host.command import CommandFailed
from gantry.host.limits import Limits
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.image_location import Origin, bare, origin, redirected, shown, without_password

DIRECTORY: Final = "var/lib/gantry/images"
RESERVE: Final = 256 << 20
"""Bytes of the node's disk that stay free."""
_MIB: Final = 1 << 20
_SAID: Final = (
    r"%{redirect_url}\n%header{content-length}\n%header{content-range}\n%{response_code}\n"
)
_CURL: Final = (
    *("curl", "--fail", "--silent", "--show-error", "--globoff"),
    *("--proto", "=http,https,ftp", "--connect-timeout", "30"),
    # A server that says nothing any more.
    *("--speed-limit", "1", "--speed-time", "60"),
    *("--write-out", _SAID, "--config", "-"),
)
_REDIRECTS: Final = 10
_FIRST: Final = 1 << 16
"""Bytes of a file, whose server does not understand that only its first one is asked for."""
_HTTP_ERROR, _NO_ANSWER, _BROKEN_OFF, _TOO_LARGE = 22, 52, 56, 63
"""Exit statuses of curl."""
_fetching: Final = WeakValueDictionary[str, asyncio.Lock]()
"""By the path of what is kept; those that are in use."""


class Run(Protocol):
    """Runs a program, as ``command.run`` does without ``check``."""

    async def __call__(  # noqa: D102
        self, argv: list[str], *, timeout: float, stdin: bytes, limits: Limits
    ) -> command.Completed: ...


class Fetcher:
    """Asks servers for one order or question of a node, whose name is ``node``."""

    def __init__(self, root: Path, node: str, run: Run) -> None:
        self._directory = root / DIRECTORY
        self._node = node
        self._run = run

    async def fetched(
        self,
        url: str,
        most: int,
        say: Callable[[str], None],
        look: Callable[[Path], Awaitable[object]],
    ) -> Path:
        """What the node keeps of the URL, as new as the server's; one job at a time fetches it.

        ``most`` are the bytes that it may have; ``look`` raises where it is no image.
        OperationFailed.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = self._directory / hashlib.sha256(url.encode()).hexdigest()[:32]
        coming = kept.with_suffix(".new")
        async with _fetching.setdefault(str(kept), asyncio.Lock()):
            _tidy(self._directory)
            say(f"fetching {shown(url)}...")
            try:
                await self._fetch(url, most, kept, coming)
                # Where the server has nothing newer nothing was written, or an empty file.
                if coming.exists() and coming.stat().st_size:
                    # Looked at before: another job may read what is kept before it looks itself.
                    await look(coming)
                    coming.replace(kept)
            finally:
                coming.unlink(missing_ok=True)
        return kept

    async def size(self, url: str) -> int:
        """Bytes that its server says that it has; 0 where it does not say. OperationFailed.

        A server that does not say what it would answer is asked for the first byte.
        """
        bound = ["--max-time", str(int(timeouts.URGENT))]
        head = ["--head", "--output", "/dev/null", *bound]
        done = await self._asked(url, head, timeouts.NORMAL, _FIRST)
        if done.status in (_HTTP_ERROR, _NO_ANSWER, _BROKEN_OFF) and url.startswith("http"):
            with tempfile.NamedTemporaryFile() as first:
                words = ["--range", "0-0", "--output", first.name, *bound]
                done = await self._asked(url, words, timeouts.NORMAL, _FIRST)
            if _too_large(done):
                return 0
        self._check(url, done)
        said = _said(done)
        whole = said.part.rpartition("/")[2] or said.length
        return int(whole) if whole.isascii() and whole.isdigit() else 0

    async def _fetch(self, url: str, most: int, kept: Path, coming: Path) -> None:
        room = max(0, shutil.disk_usage(self._directory).free - RESERVE)
        bound = min(most, room)
        newer = ["--time-cond", str(kept)] if kept.exists() else []
        # The server's word, and what is really written, which is the kernel's business.
        words = ["--remote-time", *newer, "--max-filesize", str(max(bound, 1))]
        words += ["--output", str(coming)]
        done = await self._asked(url, words, timeouts.IMAGE_FETCH, bound)
        if _too_large(done):
            raise self._larger(url, most, room)
        self._check(url, done)

    async def _asked(
        self, url: str, words: list[str], timeout: float, most: int
    ) -> command.Completed:
        """What came of asking the one that knows, at most ``_REDIRECTS`` steps from the URL.

        ``timeout`` is for all of them.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        at, pinned = url, list[str]()
        for _ in range(_REDIRECTS + 1):
            argv = [*_CURL, *pinned, *words]
            limits, left = Limits(file=most), max(1.0, deadline - loop.time())
            try:
                done = await self._run(argv, timeout=left, stdin=_named(at), limits=limits)
            except CommandFailed as error:
                raise self._unreachable(url, error.message, error.hint) from error
            said = _said(done)
            if not said.target:
                if url.startswith("http") and said.code.startswith("3") and said.code != "304":
                    why = f"its server answers with {said.code} and no new place"
                    raise self._unreachable(url, why)
                return done
            try:
                before, at = origin(at), redirected(at, said.target)
                after = origin(at)
                if after is not None and after != before:
                    pinned = ["--resolve", await self._elsewhere(at, after)]
            except Rejected as error:
                raise self._unreachable(url, error.message, error.hint) from error
        raise self._unreachable(url, f"it redirects more than {_REDIRECTS} times")

    async def _elsewhere(self, url: str, there: Origin) -> str:
        """``HOST:PORT:ADDRESS,…``: curl takes the addresses that were looked at. Rejected."""
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(
                loop.getaddrinfo(there.host, there.port, type=socket.SOCK_STREAM), timeouts.URGENT
            )
        except (OSError, TimeoutError) as error:
            raise Rejected(
                f"it redirects to {bare(url)}: {there.host} is not known: {error}"
            ) from error
        addresses = sorted({str(entry[4][0]) for entry in found})
        own = [one for one in addresses if own_addresses.is_own(one)]
        if own:
            raise Rejected(
                f"it redirects to {bare(url)}, at {own[0]}: an address of node {self._node} itself",
                "a redirect does not lead there: give that URL itself, if it is meant",
            )
        host, *quoted = (f"[{one}]" if ":" in one else one for one in (there.host, *addresses))
        return f"{host}:{there.port}:{','.join(quoted)}"

    def _check(self, url: str, done: command.Completed) -> None:
        if done.status == 0:
            return
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        how = f"signal {done.signal}" if done.signal is not None else f"exit status {done.status}"
        raise self._unreachable(url, said[0] if said else f"curl ended with {how}")

    def _larger(self, url: str, most: int, room: int) -> OperationFailed:
        what = f"node {self._node} does not fetch {shown(url)}: it is larger than"
        if most <= room:
            return OperationFailed(
                f"{what} {most // _MIB} MiB",
                "see whether it is the right one, or make the disk larger",
                reason=Reason.INPUT,
                node=self._node,
            )
        return OperationFailed(
            f"{what} the {room // _MIB} MiB that there is room for on the node",
            f"{RESERVE // _MIB} MiB stay free below {self._directory}; what is not needed any "
            "more there may be removed",
            reason=Reason.NO_RESOURCES,
            node=self._node,
        )

    def _unreachable(self, url: str, why: str, hint: str = "") -> OperationFailed:
        return OperationFailed(
            f"node {self._node} cannot fetch {shown(url)}: {without_password(why)}",
            hint or "see whether the URL is right, and whether the node reaches it",
            reason=Reason.ENVIRONMENT,
            node=self._node,
        )


class _Said(NamedTuple):
    """What curl says at its end: where it is sent, two headers, the server's code."""

    target: str = ""
    length: str = ""
    part: str = ""
    code: str = ""


def _said(done: command.Completed) -> _Said:
    lines = done.stdout.decode(errors="replace").split("\n")
    return _Said(*lines[:4]) if len(lines) > 4 else _Said()


def _named(url: str) -> bytes:
    """The URL as curl reads it from its input: in its arguments anybody could see a password."""
    escaped = url.replace("\\", "\\\\").replace('"', '\\"')
    return f'url = "{escaped}"\n'.encode()


def _too_large(done: command.Completed) -> bool:
    """By what the server said, or by what it sent."""
    return done.status == _TOO_LARGE or done.signal == signal.SIGXFSZ


def _tidy(directory: Path) -> None:
    """What an agent that was killed had begun to fetch."""
    for each in directory.glob("*.new"):
        if str(each.with_suffix("")) not in _fetching:
            each.unlink(missing_ok=True)
