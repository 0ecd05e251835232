"""How short scripts ended, for an agent that was killed before their results were recorded.

Results of short scripts are recorded several at a time; until then one small write for each says
how it ended. Records of a fixed size, each appended in one write, so that several processes may
write. Nothing waits for the disk.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from gantry.host.listing import Script
from gantry.host.process import Ended, of_code
from gantry.host.spawner_program import END

_BEGINNING: Final = struct.Struct("<qII")
_FORM: Final = struct.Struct(_BEGINNING.format + END.format.lstrip("<"))
_LARGE: Final = 64 * 1024
"""Bytes; a longer file is emptied when no phase needs it."""


class Mark(msgspec.Struct, frozen=True):
    """A script that ended by itself: its exit status, or the negative number of a signal."""

    code: int
    began: float
    duration: float
    user_time: float
    system_time: float


class EndedFile:
    """One file, made when it is needed. OSError where it cannot be written or read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def add(
        self, phase: int, number: int, directory: str, script: str, began: float, ended: Ended
    ) -> None:
        """That script of a phase, which has that number in its sequence, has ended so."""
        if self._descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o600)
        code = ended.exit_status
        if code is None:
            code = -(ended.signal or 0)
        times = ended.duration, ended.user_time, ended.system_time
        record = _FORM.pack(phase, number, _check(directory, script), code, began, *times)
        if os.write(self._descriptor, record) != len(record):
            # The disk is full: what follows would not be where it is looked for.
            self.clear()

    def of(self, phase: int, since: float) -> Ends:
        """All of a phase that began then: numbers of phases are given again, after a while."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            content = b""
        found = {}
        for at in range(0, len(content) - _FORM.size + 1, _FORM.size):
            its_phase, number, check, *rest = _FORM.unpack_from(content, at)
            mark = Mark(*rest)
            if its_phase == phase and mark.began >= since:
                found[number, check] = mark
        return Ends(found)

    def tidy(self) -> None:
        """No phase is open: what is in it has been recorded."""
        # Others write to it too (``PhaseNotes``), while we may not even have it open.
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size >= _LARGE:
                self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
        else:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PhaseNotes:
    """For who writes the notes of one phase himself; see ``gantry.host.scripts_ahead.Notes``."""

    def __init__(self, path: Path, phase: int, since: float) -> None:
        self.path = str(path)
        self._phase = phase
        self._since = since

    def beginning(self, number: int, script: Script) -> bytes:
        """What the note of that script begins with."""
        return _BEGINNING.pack(self._phase, number, _check(script.directory, script.name))

    def ended(self, numbers: Mapping[int, Script]) -> dict[int, tuple[float, Ended]]:
        """When those that have a note began, and how they ended; OSError."""
        ends = EndedFile(Path(self.path)).of(self._phase, self._since)
        found = {}
        for number, script in numbers.items():
            mark = ends.get(number, script.directory, script.name)
            if mark is not None:
                times = mark.duration, mark.user_time, mark.system_time
                found[number] = mark.began, of_code(mark.code, *times, ended=True, stopped=False)
        return found


class Ends:
    """Of one phase."""

    def __init__(self, found: dict[tuple[int, int], Mark]) -> None:
        self._found = found

    def get(self, number: int, directory: str, script: str) -> Mark | None:
        """Of the script with that number, if it is still the same one."""
        return self._found.get((number, _check(directory, script)))


def _check(directory: str, script: str) -> int:
    return zlib.crc32(f"{directory}/{script}".encode("utf-8", "surrogateescape"))
