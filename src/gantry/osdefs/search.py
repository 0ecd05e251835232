"""Where OS definitions are looked for on a node, and reading them.

Section 1 of the OS interface: the first directory of the search path that has a directory of
that name wins; shadowed ones are still reported. Whether a definition is valid is decided in
``gantry.osdefs.check``, not here. Nothing is executed here.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.bundles import DEFINITIONS
from gantry.model.live import OsFacts
from gantry.osdefs import check

DEFAULT_SEARCH_PATH: Final = (
    f"/{DEFINITIONS}",
    "/usr/local/lib/ganeti/os",
    "/usr/lib/ganeti/os",
    "/usr/share/ganeti/os",
)
"""As in Debian's Ganeti."""

_MAX_TEXT: Final = 1 << 20
_MAX_WHOLE: Final = 8 << 20
_MAX_FILES: Final = 5000
_MAX_DEPTH: Final = 8
_CHUNK: Final = 1 << 20
_log: Final = logging.getLogger(__name__)


class _Signature(msgspec.Struct, frozen=True):
    device: int
    inode: int
    size: int
    modified: int
    changed: int
    mode: int


class _Kept:
    """By path: what was read of a file with that signature, what came of a definition's files."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[_Signature, check.Entry]] = {}
        self.definitions: dict[str, tuple[dict[str, check.Entry], OsFacts]] = {}


def search_directories(
    root: Path, search_path: tuple[str, ...] = DEFAULT_SEARCH_PATH
) -> tuple[Path, ...]:
    """The directories to look in, in order, for a node whose files hang below ``root``.

    With a root of its own a node has its own first directory (``<root>/srv/ganeti/os``) and
    shares the system's other ones.
    """
    first, *others = search_path
    return (root / first.lstrip("/"), *map(Path, others))


class Finder:
    """Finds definitions; keeps what it read and what came of it, and reads only what has changed.

    May be called from several threads.
    """

    def __init__(self, root: Path, search_path: tuple[str, ...] = DEFAULT_SEARCH_PATH) -> None:
        self.root = root
        self.directories = search_directories(root, search_path)
        self._kept = _Kept()

    @property
    def search_path(self) -> tuple[str, ...]:
        """The directories as text, for showing."""
        return tuple(map(str, self.directories))

    def find(self) -> tuple[OsFacts, ...]:
        """All definitions, shadowed ones included, in the order found: the first one wins.

        A directory of the search path that is missing is skipped; one that cannot be listed
        ends the search, since what is after it could be the wrong definition.
        """
        found: list[OsFacts] = []
        fresh = _Kept()
        for directory in self.directories:
            try:
                names = sorted(entry.name for entry in directory.iterdir())
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                _log.warning("OS definitions: %s cannot be listed: %s", directory, error.strerror)
                break
            for name in names:
                if not name.startswith(".") and _is_directory(directory / name):
                    found.append(self._facts(directory / name, fresh))
        self._kept = fresh
        return tuple(found)

    def lookup(self, name: str) -> OsFacts | None:
        """The definition with that name (without variant) that wins, valid or not."""
        if not check.is_name(name):
            return None
        for directory in self.directories:
            if _is_directory(directory / name):
                return self._facts(directory / name, self._kept)
        return None

    def _facts(self, path: Path, keep: _Kept) -> OsFacts:
        entries: dict[str, check.Entry] = {}
        problem, definition = "", str(path)
        try:
            for file in _below(definition):
                entries[_text(file[len(definition) + 1 :])] = self._entry(file, definition, keep)
                if len(entries) >= _MAX_FILES:
                    problem = f"{path} has more than {_MAX_FILES} files; move the others elsewhere"
                    break
        except OSError as error:
            where = _text(str(error.filename or path))
            problem = f"{where} cannot be listed: {error.strerror}; mend its rights"
        if problem:
            return OsFacts(name=_text(path.name), path=_text(definition), problem=problem)
        files, facts = self._kept.definitions.get(definition, ({}, None))
        if facts is None or files != entries:
            facts = check.check(_text(path.name), _text(definition), entries)
        keep.definitions[definition] = entries, facts
        return facts

    def _entry(self, file: str, definition: str, keep: _Kept) -> check.Entry:
        try:
            status = os.stat(file)  # noqa: PTH116 - a path of each takes twice as long
        except OSError:
            return check.Entry(kind="link", digest=_text(_link(file)))
        if not stat.S_ISREG(status.st_mode):
            directory = stat.S_ISDIR(status.st_mode)
            return check.Entry(
                kind="directory" if directory else "special", digest=_text(_link(file))
            )
        signature = _Signature(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_mode,
        )
        known, entry = self._kept.files.get(file, (None, None))
        if entry is None or known != signature:
            parent, _, name = file.rpartition("/")
            text = parent == definition and name in check.TEXT_FILES
            entry = _read(file, status, keep_content=text)
        # What kept it from being read may pass, and the file be the same.
        if not entry.problem:
            keep.files[file] = signature, entry
        return entry


def find(root: Path, search_path: tuple[str, ...] = DEFAULT_SEARCH_PATH) -> tuple[OsFacts, ...]:
    """All definitions of a node, as ``Finder.find``, without keeping anything."""
    return Finder(root, search_path).find()


def _text(name: str) -> str:
    """A file's name as text that can be sent: undecodable bytes are shown as such."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _link(file: str) -> str:
    try:
        return str(Path(file).readlink())
    except OSError:
        return ""


def walk(directory: Path) -> Iterator[Path]:
    """All below ``directory``, but of real directories only those in it and empty ones.

    Links are not descended into, nor is what lies too deep.
    """
    return map(Path, _below(str(directory)))


def _below(directory: str, depth: int = 0) -> Iterator[str]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if depth < _MAX_DEPTH and entry.is_dir(follow_symlinks=False):
            empty = True
            for inner in _below(entry.path, depth + 1):
                empty = False
                yield inner
            if empty or depth == 0:
                yield entry.path
        else:
            yield entry.path


def _read(file: str, status: os.stat_result, keep_content: bool) -> check.Entry:
    """One regular file. Of one larger than 8 MiB, size, beginning and end stand for it."""
    mode = stat.S_IMODE(status.st_mode)
    digest = hashlib.sha256(b"%d " % status.st_size)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                return check.Entry(kind="special", mode=mode)
            if status.st_size > _MAX_WHOLE:
                digest.update(stream.read(_CHUNK))
                stream.seek(-_CHUNK, os.SEEK_END)
                digest.update(stream.read(_CHUNK))
                return check.Entry(kind="file", mode=mode, digest=digest.hexdigest())
            content = stream.read(_MAX_WHOLE)
    except OSError as error:
        return check.Entry(kind="file", mode=mode, problem=error.strerror or str(error))
    digest.update(content)
    keep_content = keep_content and len(content) <= _MAX_TEXT
    return check.Entry(
        kind="file",
        mode=mode,
        digest=digest.hexdigest(),
        content=content if keep_content else None,
    )
