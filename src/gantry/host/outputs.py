"""The files that scripts write to: two for each script, kept by name where it wrote something.

A file is made without a name, and gets one (``0007.out``, ``0007.err``) when there is something
in it, or when its script takes long: what a script wrote is then there even if we are killed.
Making a file costs as much as starting a small script, so one that nothing was written to is
given to another script, also of a later sequence, provided that nobody has it open any more: a
background child may go on writing to its own.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Final, Self

from gantry.host.process import appended
from gantry.host.spawner_program import ITS_FLAGS, only_ours
from gantry.model.orders import Stream

_log = logging.getLogger(__name__)

HALF: Final = 512 * 1024
"""Of each stream the first and the last so many bytes are kept."""
GAP: Final = b"\n[... output left out ...]\n"
MOST: Final = 2 * HALF
"""Bytes that are kept of one output, but for the gap."""
_BLOCK: Final = 4096
"""Bytes that no file system has room for inside of what it holds already."""
_MODE: Final = 0o600
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


_KEPT: Final = 32
"""Empty files that wait for later sequences, in this process."""


class Output:
    """One file. ``path`` is what a script opens, so that we can tell whether it is still open."""

    def __init__(self, descriptor: int, *, may_be_named: bool = True) -> None:
        self.descriptor = descriptor
        self.path = own(descriptor)
        self.as_stdout = appended(self.path, 1)
        self.as_stderr = appended(self.path, 2)
        self.name = ""
        self.may_be_named = may_be_named
        self._ahead = -1

    def open_ahead(self) -> None:
        """Have the descriptor for the next script, if there may be one; OSError."""
        if self._ahead < 0:
            self._ahead = os.open(self.path, ITS_FLAGS)

    def opened(self) -> int:
        """A descriptor for the script, so that it has the file open by itself; OSError."""
        descriptor = self._ahead
        if descriptor < 0:
            return os.open(self.path, ITS_FLAGS)
        self._ahead = -1
        return descriptor

    def unused(self) -> None:
        """No script was given the descriptor that was opened for it."""
        if self._ahead >= 0:
            os.close(self.opened())

    @property
    def reusable(self) -> bool:
        """Whether nobody else has it open. What cannot be told counts as open."""
        return only_ours(self.descriptor)


class Outputs:
    """The output files of one sequence of scripts, below ``directory``, or nowhere if None.

    ``directory`` is made with the first file in it: most scripts write nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self.above = ""
        """Where files without a name are made, on the same file system."""
        self._place = -1
        self._free: list[Output] = []
        self._old: list[Output] = []
        self._spare: list[Output] = []
        """Those of earlier sequences on the same file system, which all of them share."""

    def __enter__(self) -> Self:
        if self._directory is not None:
            self.above, device = _above(str(self._directory))
            self._spare = _spare(device)
        return self

    def __exit__(self, *_: object) -> None:
        self.tidy()
        while self._free:
            output = self._free.pop()
            output.unused()
            if self.above and output.may_be_named and len(self._spare) < _KEPT:
                self._spare.append(output)
            else:
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
        self._two()
        return self._free.pop(), self._free.pop()

    def get_ready(self) -> None:
        """Open what the next script needs while there is time; OSError as ``take``."""
        self._two()
        self._free[-1].open_ahead()
        self._free[-2].open_ahead()

    def _two(self) -> None:
        while len(self._free) < 2:
            self._free.append(self._fresh())

    def tidy(self) -> None:
        """Close what has been read."""
        while self._old:
            os.close(self._old.pop().descriptor)

    def keep(self, output: Output, name: str) -> None:
        """Give a file its name now; one that cannot have it stays without."""
        if output.name or not self._made():
            return
        try:
            os.link(output.path, name, dst_dir_fd=self._place, follow_symlinks=True)
        except OSError:
            return
        output.name = name

    def _made(self) -> bool:
        """Whether there is a directory for names."""
        if self._place < 0 and self._directory is not None:
            try:
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                _log.warning("there can be no directory %s: %s", self._directory, error.strerror)
                self._directory = None
        return self._place >= 0

    def close(self, output: Output, name: str, *, reuse: bool = True) -> tuple[bytes, Stream]:
        """What a script wrote; the file is kept as ``name`` where that is anything."""
        output.unused()
        # Cheaper than fstat; nobody else has this place in the file, and all writing is appending.
        size = os.lseek(output.descriptor, 0, os.SEEK_END)
        if size == 0:
            if output.name:
                os.unlink(output.name, dir_fd=self._place)
            reuse = reuse and not output.name and len(self._free) < _KEPT
            if reuse and output.reusable:
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

    def without_room(self, owner: int | None) -> str:
        """Why nothing that ``owner`` (None: we) writes can be kept now; empty if it can."""
        try:
            descriptor, _ = _unnamed(self._where)
            try:
                # Not all that is free is free for others than root; 0 in all: no such limit.
                room = os.fstatvfs(descriptor)
                if owner is not None and room.f_blocks and not room.f_bavail:
                    return os.strerror(errno.ENOSPC)
                os.write(descriptor, bytes(_BLOCK))
            finally:
                os.close(descriptor)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _copy(self, output: Output, name: str, content: bytes) -> None:
        """Keep ``content`` in the place of the file, which is too long or cannot have a name."""
        if not self._made():
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
        descriptor, may_be_named = _unnamed(self._where)
        return Output(descriptor, may_be_named=may_be_named)

    @property
    def _where(self) -> str:
        return self.above or tempfile.gettempdir()

    def _fresh(self) -> Output:
        """A new one, or one that is as good as new."""
        try:
            return self._spare.pop()
        except IndexError:
            return self._new()


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


def own(descriptor: int) -> str:
    """A path by which another process may open what we have open."""
    return f"/proc/{_ourselves()}/fd/{descriptor}"


@cache
def _ourselves() -> str:
    """Our number, by which a script opens our file: its own ``/proc/self`` is made for it first."""
    try:
        return os.readlink("/proc/self")  # noqa: PTH115 - the number as this /proc has it
    except OSError:
        return "self"


@cache
def _spare(device: int) -> list[Output]:
    """Those on that file system: a file can have no name on another one."""
    assert device >= 0
    return []


# A copy of this process shares the open files, and nobody could tell who uses them.
os.register_at_fork(after_in_child=_ourselves.cache_clear)
os.register_at_fork(after_in_child=_spare.cache_clear)


def _above(directory: str) -> tuple[str, int]:
    """The directory, or the next one above it that there is, and its file system."""
    while True:
        try:
            return directory, os.stat(directory).st_dev  # noqa: PTH116 - on the fast path
        except FileNotFoundError:
            directory = os.path.dirname(directory)  # noqa: PTH120


def _unnamed(directory: str) -> tuple[int, bool]:
    """A new file, and whether it can be given a name."""
    try:
        return os.open(directory, os.O_TMPFILE | _FLAGS, _MODE), True
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
    # A file system that knows no unnamed files; it is removed at once, and kept as a copy.
    descriptor, path = tempfile.mkstemp(dir=directory)
    os.unlink(path)  # noqa: PTH108 - as it was made
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    return descriptor, False


def _content(descriptor: int, size: int) -> tuple[bytes, bool]:
    """What was written, at most its first and last 512 KiB, and whether it was cut."""
    if size <= 2 * HALF:
        return os.pread(descriptor, size, 0), False
    start = os.pread(descriptor, HALF, 0)
    return start + GAP + os.pread(descriptor, HALF, size - HALF), True
