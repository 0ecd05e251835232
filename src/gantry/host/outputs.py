"""The files that scripts write to: two for each script, kept by name where it wrote something.

A file is made without a name, and gets one (``0007.out``, ``0007.err``) when there is something
in it, or when its script takes long: what a script wrote is then there even if we are killed.
Making a file costs as much as starting a small script, so one that nothing was written to is
given to the next script, provided that nobody has it open any more: a background child may go
on writing to its own.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
from pathlib import Path
from typing import Final, Self

from gantry.model.orders import Stream

_log = logging.getLogger(__name__)

HALF: Final = 512 * 1024
"""Of each stream the first and the last so many bytes are kept."""
GAP: Final = b"\n[... output left out ...]\n"
MOST: Final = 2 * HALF
"""Bytes that are kept of one output, but for the gap."""
_MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


class Output:
    """One file. ``path`` is what a script opens, so that we can tell whether it is still open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.path = f"/proc/self/fd/{descriptor}"
        self.name = ""

    @property
    def reusable(self) -> bool:
        """Whether nobody else has it open. What cannot be told counts as open."""
        try:
            # A lease for writing is given only where there is no other open file.
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(self.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError:
            return False
        return True


class Outputs:
    """The output files of one sequence of scripts, below ``directory``, or nowhere if None."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._place = -1
        self._free: list[Output] = []
        self._old: list[Output] = []

    def __enter__(self) -> Self:
        if self._directory is not None:
            self._place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        self.tidy()
        for output in self._free:
            os.close(output.descriptor)
        if self._place >= 0:
            os.close(self._place)

    def take(self, owner: int | None = None) -> tuple[Output, Output]:
        """For stdout and stderr; ``owner`` is the user who may open them again.

        OSError where there is no room for files.
        """
        if owner is not None:
            pair = self._new(), self._new()
            for output in pair:
                os.fchown(output.descriptor, owner, -1)
            return pair
        while len(self._free) < 2:
            self._free.append(self._new())
        return self._free.pop(), self._free.pop()

    def prepare(self) -> None:
        """A script is running: time to close old files and to make the next."""
        self.tidy()
        try:
            while len(self._free) < 2:
                self._free.append(self._new())
        except OSError:  # ``take`` will say so, of the script that they were for
            return

    def tidy(self) -> None:
        """Close what has been read."""
        while self._old:
            os.close(self._old.pop().descriptor)

    def keep(self, output: Output, name: str) -> None:
        """Give a file its name now; one that cannot have it stays without."""
        if self._place < 0 or output.name:
            return
        try:
            os.link(output.path, name, dst_dir_fd=self._place, follow_symlinks=True)
        except OSError:
            return
        output.name = name

    def close(self, output: Output, name: str, *, reuse: bool = True) -> tuple[bytes, Stream]:
        """What a script wrote; the file is kept as ``name`` where that is anything."""
        size = os.fstat(output.descriptor).st_size
        if size == 0:
            if output.name:
                os.unlink(output.name, dir_fd=self._place)
            if reuse and not output.name and output.reusable:
                self._free.append(output)
            else:
                self._old.append(output)
            return b"", Stream()
        self._old.append(output)
        content, cut = _content(output.descriptor, size)
        if not cut:
            self.keep(output, name)
        if cut or not output.name:
            self._copy(output, name, content)
        return content, Stream(size=size, cut=cut, file=output.name)

    def _copy(self, output: Output, name: str, content: bytes) -> None:
        """Keep ``content`` in the place of the file, which is too long or cannot have a name."""
        if self._place < 0:
            return
        try:
            if output.name:
                os.unlink(output.name, dir_fd=self._place)
                output.name = ""
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            place = os.open(name, flags, _MODE, dir_fd=self._place)
            with open(place, "wb") as copy:  # noqa: PTH123 - a descriptor
                copy.write(content)
        except OSError as error:
            _log.warning("the output %s is not kept: %s", name, error.strerror)
            return
        output.name = name

    def _new(self) -> Output:
        if self._directory is None:
            return Output(_unnamed(tempfile.gettempdir()))
        return Output(_unnamed(str(self._directory)))


def text(directory: Path, stream: Stream) -> str | None:
    """What is kept of an output as text; None where it was thrown away."""
    if not stream.file:
        return ""
    most = MOST + len(GAP)
    try:
        # Who wrote it may still do so: it may be longer by now than anybody has room for.
        with (directory / stream.file).open("rb") as file:
            found = file.read(most if stream.cut else min(stream.size, most))
    except FileNotFoundError:
        return None
    return found.decode("utf-8", "replace")


def left(directory: Path, name: str) -> Stream:
    """What a script had written when nobody looked after it any more."""
    try:
        return Stream(size=(directory / name).stat().st_size, file=name)
    except OSError:
        return Stream()


def _unnamed(directory: str) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | _FLAGS, _MODE)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    # A file system that knows no unnamed files; it is removed at once, and kept as a copy.
    descriptor, path = tempfile.mkstemp(dir=directory)
    os.unlink(path)  # noqa: PTH108 - as it was made
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor


def _content(descriptor: int, size: int) -> tuple[bytes, bool]:
    """What was written, at most its first and last 512 KiB, and whether it was cut."""
    if size <= 2 * HALF:
        return os.pread(descriptor, size, 0), False
    start = os.pread(descriptor, HALF, 0)
    return start + GAP + os.pread(descriptor, HALF, size - HALF), True
