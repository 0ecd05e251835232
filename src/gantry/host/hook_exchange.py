"""The files by which a script is told more than variables hold, and by which it answers.

``GANTRY_CONTEXT`` names a JSON document, ``GANTRY_VERDICT`` a file that a script may write.
They are in a directory of one run, which goes away with it. A script that runs as another user
has a directory of that user's own, so that it sees and writes its own and nobody else's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from gantry.host import process
from gantry.host.accounts import Account, NotPossible
from gantry.host.outputs import own
from gantry.host.spawner_program import only_ours
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

CONTEXT: Final = "GANTRY_CONTEXT"
VERDICT: Final = "GANTRY_VERDICT"
LIMIT: Final = 64 * 1024
"""Bytes of a verdict; a longer one is not read."""
_MESSAGE: Final = 2000
_WARNINGS: Final = 20
_VERDICT: Final = "verdict-"
_BEGIN: Final = b'{"deadline":'
DEADLINE_AT: Final = len(_BEGIN)
_DOCUMENT: Final = "context.json"
_MODE: Final = 0o600
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9_.-]")
_RM: Final = "/bin/rm"
_EMPTY: Final = "empty"
"""A directory that a run has left, with its document, for the next one: to remove one takes a disk
3 ms, and where many files were removed lately ext4 looks long for a number for another one."""


class Verdict(msgspec.Struct, frozen=True):
    """What a script wants the operator to know."""

    message: str = ""
    warnings: tuple[str, ...] = ()


_NOTHING: Final = Verdict()


class _Place(msgspec.Struct, frozen=True):
    directory: str
    document: int
    """The descriptor of the open document, whose deadline is another for each script."""
    context: bytes
    """The variable with its path."""
    verdict: bytes
    """The beginning of the variable with the path of a verdict."""


class Exchange:
    """Those files of one run, in a directory below ``parent``; no files where it is None.

    A repeat of the run, whose ``name`` is the same, has the same paths: what a script is told
    twice must not differ. What an agent that was killed has left there goes first. No two runs
    have a verdict of the same name: a process that a script left behind may still be in the
    directory when the next run has it.
    ``document`` is a JSON object; ``deadline`` (seconds since 1970) is added to it.
    """

    def __init__(self, parent: Path | None, name: str, document: bytes) -> None:
        self._parent = parent
        self._name = _STRANGE.sub("_", name)
        self._verdict = f"{_VERDICT}{hashlib.sha256(name.encode()).hexdigest()[:16]}-"
        self._document = document
        self._directory = ""
        self._places: dict[str, _Place] = {}
        self._left = -1
        """The document of an earlier run, which nobody else has open."""

    def __enter__(self) -> Self:
        """OperationFailed where the directory cannot be made."""
        if self._parent is not None:
            directory = f"{self._parent}/run-{self._name}"
            try:
                self._left = self._made(directory, self._parent)
            except OSError as error:
                raise OperationFailed(
                    f"there can be no directory {directory} for what scripts are told: "
                    f"{error.strerror}",
                    "make room there, or mend the rights of the directories above it",
                    reason=Reason.ENVIRONMENT,
                ) from error
            self._directory = directory
        return self

    def _made(self, directory: str, parent: Path) -> int:
        empty = f"{parent}/{_EMPTY}"
        _make_way(directory)
        try:
            return _make(directory, empty)
        except FileNotFoundError:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _make(directory, empty)

    def __exit__(self, *_: object) -> None:
        for place in self._places.values():
            os.close(place.document)
        if self._left >= 0:
            os.close(self._left)
        if self._directory and not self._emptied():
            clear(self._directory)

    def _emptied(self) -> bool:
        """Whether nothing but the document was there, as most often; then the next run has both."""
        assert self._parent is not None
        try:
            found = os.listdir(self._directory)  # noqa: PTH208 - names only
            if found not in ([], [_DOCUMENT]):
                return False
            try:
                os.rename(self._directory, f"{self._parent}/{_EMPTY}")  # noqa: PTH104
            except OSError:
                # Another run has left one with its document: one is enough.
                for name in found:
                    os.unlink(f"{self._directory}/{name}")  # noqa: PTH108 - on the fast path
                os.rmdir(self._directory)  # noqa: PTH106 - on the fast path
        except OSError:
            return False
        return True

    def tell(self, number: int, account: Account | None, deadline: float) -> list[bytes]:
        """The variables of script ``number``; NotPossible where the files cannot be made."""
        if not self._directory:
            return []
        place = self._place_of(account)
        os.pwrite(place.document, b"%.3f" % deadline, DEADLINE_AT)
        return _variables(place, number)

    def tell_later(self, numbers: Iterable[int]) -> tuple[str, list[list[bytes]]]:
        """The document in which somebody else writes each deadline, at ``DEADLINE_AT``, and the
        variables of each script; NotPossible as ``tell``."""
        if not self._directory:
            return "", [[] for _ in numbers]
        place = self._place_of(None)
        # Whatever scripts have put in the document's place, ours is meant.
        return own(place.document), [_variables(place, one) for one in numbers]

    def _place_of(self, account: Account | None) -> _Place:
        place = self._places.get(account.name if account is not None else "")
        if place is None:
            try:
                place = self._place(account)
            except OSError as error:
                raise NotPossible(f"no file for what it is told: {error.strerror}") from error
        return place

    def written(self) -> frozenset[str]:
        """The directories in which there is any verdict, for ``verdict`` of several scripts."""
        found = set()
        for place in self._places.values():
            with contextlib.suppress(OSError):
                if any(name.startswith(self._verdict) for name in os.listdir(place.directory)):  # noqa: PTH208 - names only
                    found.add(place.directory)
        return frozenset(found)

    def verdict(
        self, number: int, account: Account | None, written: frozenset[str] | None = None
    ) -> Verdict:
        """What script ``number`` wrote; one that cannot be understood is a warning.

        ``written`` is where there is any, if that has been looked up since the script ended.
        """
        place = self._places.get(account.name if account is not None else "")
        if place is None or (written is not None and place.directory not in written):
            return _NOTHING
        path = self._path(place, number)
        if not os.access(path, os.F_OK, follow_symlinks=False):
            return _NOTHING
        try:
            content = _read(path)
            return _understood(content) if content is not None else Verdict()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            return Verdict(warnings=(f"what it wrote to GANTRY_VERDICT was not read: {why}",))

    def _path(self, place: _Place, number: int) -> str:
        return f"{place.directory}/{self._verdict}{number}.json"

    def _place(self, account: Account | None) -> _Place:
        name, directory = "", self._directory
        if account is not None:
            name = account.name
            directory = f"{directory}/{name}"
            self._let_through()
            Path(directory).mkdir(mode=0o700)
        path = f"{directory}/{_DOCUMENT}"
        try:
            document = self._write(path, account)
        except OSError:
            # The next script has a try of its own, and is told the same reason.
            if account is not None:
                clear(directory)
            raise
        found = _Place(
            directory,
            document,
            os.fsencode(f"{CONTEXT}={path}"),
            os.fsencode(f"{VERDICT}={directory}/{self._verdict}"),
        )
        if account is not None:
            os.fchown(found.document, account.uid, account.gid)
            os.chown(directory, account.uid, account.gid)
        self._places[name] = found
        return found

    def _write(self, path: str, account: Account | None) -> int:
        if account is None and self._left >= 0:
            descriptor, self._left = self._left, -1
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, _MODE)
        rest = self._document[1:]
        comma = b"" if rest.lstrip().startswith(b"}") else b","
        view = memoryview(_BEGIN + b"%.3f" % 1e9 + comma + rest + b"\n")
        size = len(view)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
            os.ftruncate(descriptor, size)
        except OSError:
            os.close(descriptor)
            os.unlink(path)  # noqa: PTH108 - as everywhere here
            raise
        return descriptor

    def _let_through(self) -> None:
        """Another user must get to a directory of his below ours; he cannot list them."""
        assert self._parent is not None
        for path in (Path(self._directory), self._parent, self._parent.parent):
            path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IXGRP | stat.S_IXOTH)


def _variables(place: _Place, number: int) -> list[bytes]:
    return [place.context, b"%s%d.json" % (place.verdict, number)]


def clear(directory: str) -> None:
    """Remove it with all that is in it. What cannot be removed stays; nothing is raised.

    Scripts, also those of other users, may have put anything there: directories in directories,
    deeper than a recursion or the open files of a process go.
    """
    with contextlib.suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    if not os.path.lexists(directory):
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        argv = [_RM, "-rf", "--one-file-system", "--", directory]
        process.run(argv, {}, stdout=null, stderr=null, timeout=timeouts.URGENT)
    finally:
        os.close(null)


def _make(directory: str, empty: str) -> int:
    """A new one, or one that is as good as new; the document in it, or -1; OSError."""
    try:
        os.rename(empty, directory)  # noqa: PTH104 - as all of it, on the fast path
    except FileNotFoundError:
        os.mkdir(directory, 0o700)  # noqa: PTH102
        return -1
    # A script of root may have put something there meanwhile, or taken rights away.
    mode = os.lstat(directory).st_mode
    if not stat.S_ISDIR(mode):
        os.unlink(directory)  # noqa: PTH108
        os.mkdir(directory, 0o700)  # noqa: PTH102
        return -1
    if stat.S_IMODE(mode) != 0o700:
        os.chmod(directory, 0o700)  # noqa: PTH101
    found = os.listdir(directory)  # noqa: PTH208 - names only
    if found == [_DOCUMENT]:
        document = _left(f"{directory}/{_DOCUMENT}")
        if document >= 0:
            return document
        with contextlib.suppress(OSError):
            os.unlink(f"{directory}/{_DOCUMENT}")  # noqa: PTH108 - on the fast path
            found = []
    if found:
        _make_way(directory)
        os.mkdir(directory, 0o700)  # noqa: PTH102
    return -1


def _left(path: str) -> int:
    """A descriptor of the document that an earlier run has left; -1 where it is not as we make it,
    or a script has it open still."""
    try:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except OSError:
        return -1
    status = os.fstat(descriptor)
    ours = status.st_mode == stat.S_IFREG | _MODE and status.st_uid == os.geteuid()
    if ours and status.st_nlink == 1 and only_ours(descriptor):
        return descriptor
    os.close(descriptor)
    return -1


def _make_way(directory: str) -> None:
    """Nothing has that path any more: what cannot be removed, as it is being used, is renamed."""
    if not os.path.lexists(directory):
        return
    clear(directory)
    if os.path.lexists(directory):
        path = Path(directory)
        path.rename(path.with_name(f"left-{os.urandom(6).hex()}"))


def _read(path: str) -> bytes | None:
    """The content; None where there is no file. ValueError where it is none that we read."""
    try:
        # Who wrote it may have put anything there: a link, a pipe that nobody writes to.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        content = os.read(descriptor, LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(content) > LIMIT:
        raise ValueError(f"it is longer than {LIMIT // 1024} KiB")
    return content


def _understood(content: bytes) -> Verdict:
    if not content.strip():
        return Verdict()
    try:
        found: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    message, warnings = found.get("message") or "", found.get("warnings") or []
    if not isinstance(message, str):
        raise ValueError("its message is no text")
    if not isinstance(warnings, list) or not all(isinstance(one, str) for one in warnings):
        raise ValueError("its warnings are no list of texts")
    return Verdict(
        message=message[:_MESSAGE],
        warnings=tuple(one[:_MESSAGE] for one in warnings[:_WARNINGS]),
    )
