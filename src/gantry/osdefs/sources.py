"""A definition's files, read for judging them: on any machine, installed or not."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from gantry.host.interpreter import interpreter
from gantry.model.hook_files import EntryKind, Interpreter
from gantry.osdefs.search import walk

_READ: Final = 1 << 20
"""Bytes of a file that are looked at."""
_MOST: Final = 5000


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory of a definition; kind, mode and owner of what a link leads to.

    ``link`` is where it leads as a link, ``outside`` whether that is not in the definition;
    ``content`` its first MiB; ``problem`` why that could not be read.
    """

    kind: EntryKind
    mode: int = 0
    owner: int = 0
    size: int = 0
    link: str = ""
    outside: bool = False
    interpreter: Interpreter = Interpreter()
    content: bytes = b""
    problem: str = ""


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """A definition: by path below it what is there, "." for itself; ``user`` is who looks.

    ``before`` and ``after`` are other definitions of its name in the search path: those that
    hide it, where it is in it, and those that it hides or would hide once it is pushed.
    """

    name: str
    user: int
    files: dict[str, Source]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def read(directory: Path, name: str, search_path: tuple[Path, ...] = ()) -> Sources:
    """Look at a definition now; OSError where a directory of it cannot be listed.

    ``name`` is what it is to be called, ``search_path`` that of the machine's node.
    """
    top = directory.resolve()
    files = {".": _source(top, directory)}
    for path in itertools.islice(walk(directory), _MOST):
        below = path.relative_to(directory)
        for parent in reversed(below.parents[:-1]):
            if str(parent) not in files:
                files[str(parent)] = _source(top, directory / parent)
        files[os.fsencode(below).decode("utf-8", "backslashreplace")] = _source(top, path)
    others = [place / name for place in search_path]
    # What is in the first one is where a push goes to: it is this definition, or refuses it.
    at = next((n for n, one in enumerate(others) if one.resolve() == top), 0)
    return Sources(
        name=name,
        user=os.geteuid(),
        files=files,
        before=tuple(str(one) for one in others[:at] if one.is_dir()),
        after=tuple(str(one) for one in others[at + 1 :] if one.is_dir()),
    )


def _source(top: Path, path: Path) -> Source:
    link, outside = "", False
    try:
        if path.is_symlink() and path.resolve() != top:
            link = str(path.readlink())
            outside = not path.resolve().is_relative_to(top)
        status = path.stat()
    except (OSError, RuntimeError):
        return Source(kind=EntryKind.BROKEN, link=link, outside=outside)
    found = Source(
        kind=EntryKind.OTHER,
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        size=status.st_size,
        link=link,
        outside=outside,
    )
    if stat.S_ISDIR(status.st_mode):
        return msgspec.structs.replace(found, kind=EntryKind.DIRECTORY)
    if not stat.S_ISREG(status.st_mode):
        return found
    found = msgspec.structs.replace(found, kind=EntryKind.FILE)
    try:
        with path.open("rb") as stream:
            content = stream.read(_READ)
    except OSError as error:
        return msgspec.structs.replace(found, problem=error.strerror or str(error))
    return msgspec.structs.replace(found, content=content, interpreter=interpreter(content))
