"""The lines of a growing log file while it grows, woken by inotify. Nothing is polled.

It reads files only; what the lines mean is the caller's business.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

_IN_MODIFY: Final = 0x2
_CHUNK: Final = 1 << 16
MAX_LINES: Final = 1000
MAX_LINE: Final = 500
MAX_BYTES: Final = 1 << 18
"""So much of a log is passed on (bytes, lines); the file has all of it."""


class Follower:
    """An asynchronous context in which new lines of ``path`` are passed to ``line``.

    What is in the file already is left out. On leaving, what has not been passed on yet is, up
    to the bounds; then one line says that there is more. Characters that are not UTF-8 or not
    printable are replaced. Where the node has no watches left, all lines come on leaving.
    """

    def __init__(
        self,
        path: Path,
        line: Callable[[str], None],
        inotify: Callable[[Path], int] | None = None,
    ) -> None:
        self._inotify = inotify or _inotify
        self._path = path
        self._line = line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._lines = 0
        self._bytes = 0
        self._full = False

    async def __aenter__(self) -> Follower:
        self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.lseek(self._file, 0, os.SEEK_END)
        self._loop = asyncio.get_running_loop()
        try:
            self._watch = self._inotify(self._path)
        except OSError as error:
            self._line(f"(output is shown at the end: it cannot be followed: {error.strerror})")
            self._watch = -1
        else:
            self._loop.add_reader(self._watch, self._changed)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch >= 0:
            self._loop.remove_reader(self._watch)
            os.close(self._watch)
        while self._read():
            pass
        os.close(self._file)
        if self._rest:
            self._pass_on(self._rest)

    def _changed(self) -> None:
        os.read(self._watch, _CHUNK)
        while self._read():
            pass
        if self._full:
            self._loop.remove_reader(self._watch)

    def _read(self) -> bool:
        """Pass on what one piece of the file has; whether there may be more to pass on."""
        if self._full:
            return False
        data = os.read(self._file, _CHUNK)
        self._bytes += len(data)
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = self._rest[-MAX_LINE:]
        for line in lines:
            self._pass_on(line)
        if self._bytes > MAX_BYTES:
            self._stop()
        return bool(data) and not self._full

    def _pass_on(self, line: str) -> None:
        if self._lines == MAX_LINES:
            self._stop()
        if not self._full:
            self._lines += 1
            self._line(printable(line))

    def _stop(self) -> None:
        if not self._full:
            self._full = True
            self._line("(there is more output than is shown here; the log file has all of it)")


def printable(line: str) -> str:
    """One line without control characters, such as a terminal would obey, and not too long."""
    line = line.rstrip("\r").rpartition("\r")[2]
    return "".join(
        character if character.isprintable() or character == "\t" else "\N{REPLACEMENT CHARACTER}"
        for character in line[:MAX_LINE]
    )


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a file, looking at no more than its last 64 KiB."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _CHUNK))
        text = file.read(_CHUNK).decode("utf-8", "replace")
    return [printable(line) for line in text.rstrip("\n").split("\n")[-count:] if text.strip()]


def _inotify(path: Path) -> int:
    import ctypes  # here, for agents that follow no log yet

    library = ctypes.CDLL(None, use_errno=True)
    descriptor = int(library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "inotify")
    if library.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0:
        number = ctypes.get_errno()
        os.close(descriptor)
        raise OSError(number, os.strerror(number), str(path))
    return descriptor
