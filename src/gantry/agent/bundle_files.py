"""A node's bundles on its disk: unpacked beside the old one, switched by one rename.

    <own>/<sha256>/…        an unpacked bundle, never changed
    <own>/<sha256>.json     what its files are
    <own>/current           a link to one of them
    <own>/aside/<sha256>/   what was put there by hand, and this bundle replaced
    <own>/pending           which bundle is being switched to

What a bundle *shows* are links through ``current``. Those that a new bundle needs are made before
the switch, when they lead nowhere, and those that it does not need are removed after it. Whatever
moment an agent is killed at, the next one finishes what was switched or takes back what was not,
before it runs anything. What is shown, and where, is said by the two kinds: ``bundle_hooks`` and
``bundle_definitions``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import tree
from gantry.model.bundle_orders import FileKind, InstalledBundle, InstalledFile
from gantry.model.bundles import MAX_CONTENT, MAX_DEPTH, BundleEntry, BundleFile, entries, shown
from gantry.model.errors import Reason, Rejected

KEPT: Final = 5
"""Unpacked bundles that stay beside the current one."""
_MOST_LOCAL: Final = 2000
"""Files that are told; more are not."""
_SHA: Final = re.compile(r"[0-9a-f]{64}")
_manifests = msgspec.json.Decoder(tuple[BundleEntry, ...])


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The switch that is under way. ``replace``: local files in its way are set aside."""

    to: str
    replace: bool = False


class BundleFiles(ABC):
    """The bundles of one target. All methods block; OSError where a disk does.

    ``base`` is where links are made, ``own`` is below it.
    """

    directories_are_replaced = False
    """Whether a directory in a link's place may be set aside."""

    def __init__(self, target: str, base: Path, own: Path) -> None:
        self.target = target
        self._base = base
        self._own = own
        self._inside = str(own.relative_to(base))
        self._current = self._own / "current"
        self._pending = self._own / "pending"

    def current(self) -> str:
        """The hash of the bundle that is switched to; empty where there is none."""
        try:
            found = str(self._current.readlink())
        except OSError:
            return ""
        return found if _SHA.fullmatch(found) else ""

    def install(self, sha256: str, files: Sequence[BundleFile], *, replace: bool) -> None:
        """Unpack and switch; Rejected with nothing done where local files are in the way."""
        with self._alone():
            self._recover()
            self._no_conflicts(files, replace)
            self._unpack(sha256, files)
            self._switch(_Pending(to=sha256, replace=replace))
            self._prune()

    def restore(self, sha256: str, undoing: str) -> None:
        """Switch back to a bundle that is still here, or to none; Rejected where it is not."""
        with self._alone():
            self._recover()
            if sha256 and not self._unpacked(sha256):
                raise Rejected(
                    f"bundle {sha256[:12]} is not on this node any more",
                    "gnt-hook push installs it again",
                    reason=Reason.STATE,
                )
            if self.current() != sha256:
                self._switch(_Pending(to=sha256))
            if _SHA.fullmatch(undoing):
                self._bring_back(undoing)

    def recover(self) -> None:
        """Finish, or take back, what an agent that was killed had begun."""
        if self._own.is_dir():
            with self._alone():
                self._recover()

    def read(self) -> InstalledBundle:
        """The bundle and every file, as they are now."""
        current = self.current()
        known = {one.path: one for one in self._manifest(current)}
        found = [self._look(one) for one in known.values()]
        hidden = {one.path for one in found if one.kind is FileKind.HIDDEN}
        for path, place in self._local():
            if path not in known or path in hidden:
                found.append(_told(path, place, FileKind.LOCAL))
            if len(found) >= _MOST_LOCAL:
                break
        found += [_told(path, place, FileKind.ADDED) for path, place in self._added(current)]
        return InstalledBundle(
            sha256=current, files=tuple(sorted(found, key=lambda one: (one.path, one.kind)))
        )

    # Switching

    def _switch(self, pending: _Pending) -> None:
        tree.write(self._pending, msgspec.json.encode(pending), 0o600)
        for path in self._ahead(pending.to):
            self._link(path, aside=None)
        self._point(pending.to)
        self._finish(pending)

    def _ahead(self, to: str) -> Iterable[str]:
        """The links that are made before the switch; called right before they are."""
        return self._shown(to)

    def _shown(self, sha256: str) -> set[str]:
        """Where the bundle's links are, below ``base``."""
        return {shown(self.target, entry.path) for entry in self._manifest(sha256)}

    def _finish(self, pending: _Pending) -> None:
        """What is left to do once the new bundle is switched to."""
        wanted = self._shown(pending.to)
        aside = self._aside(pending.to) if pending.replace else None
        for path in wanted:
            self._link(path, aside=aside)
        for path in self._links():
            if path not in wanted:
                self._unlink(path)
        self._pending.unlink(missing_ok=True)
        tree.sync(self._own)

    def _recover(self) -> None:
        for left in self._own.glob(".new-*"):
            shutil.rmtree(left, ignore_errors=True)
        try:
            pending = msgspec.json.decode(self._pending.read_bytes(), type=_Pending)
        except FileNotFoundError:
            return
        except msgspec.MsgspecError:
            # It is replaced as a whole, so this is a disk's damage: what is switched to counts.
            pending = _Pending(to=self.current())
        if pending.to != self.current():
            pending = _Pending(to=self.current())
        self._finish(pending)

    def _point(self, sha256: str) -> None:
        if not sha256:
            self._current.unlink(missing_ok=True)
        else:
            tree.replace_link(self._current, sha256)
            os.utime(self._own / sha256)
        tree.sync(self._own)

    # Links

    def _link(self, path: str, aside: Path | None) -> None:
        """One of the bundle's links; what is local is left, or moved below ``aside``."""
        place, target = self._base / path, self._leads_to(path)
        if _is_link_to(place, target):
            return
        if not self._is_ours(path) and _is_there(place):
            if aside is None:
                return
            _set_aside(place, aside, path)
        tree.make_directories(self._base, place.parent)
        tree.replace_link(place, target)

    def _unlink(self, path: str) -> None:
        place = self._base / path
        place.unlink()
        for parent in place.relative_to(self._base).parents:
            # One with other files in it stays.
            with contextlib.suppress(OSError):
                if parent != Path():
                    (self._base / parent).rmdir()

    def _links(self) -> list[str]:
        """Our links, whichever bundle they were made for."""
        return [path for path, _ in self._entries(self._base) if self._is_ours(path)]

    def _local(self) -> Iterator[tuple[str, Path]]:
        for path, place in self._entries(self._base):
            if not self._is_ours(path):
                yield path, place

    def _entries(self, top: Path) -> Iterator[tuple[str, Path]]:
        """Everything below ``top`` that may be in the place of a link, or that is one."""
        return tree.walk(top, MAX_DEPTH)

    @abstractmethod
    def _leads_to(self, path: str) -> str:
        """Where the link at ``path`` leads, relative to its directory."""

    def _is_ours(self, path: str) -> bool:
        """Whether it is a link into one of our bundles, the one that it should be or another."""
        try:
            found = str((self._base / path).readlink())
        except OSError:
            return False
        return found.startswith(f"{above(path)}{self._inside}/")

    def _aside(self, sha256: str) -> Path:
        return self._own / "aside" / sha256

    def _bring_back(self, sha256: str) -> None:
        for path, kept in list(self._entries(self._aside(sha256))):
            place = self._base / path
            if not _is_there(place):
                tree.make_directories(self._base, place.parent)
                kept.rename(place)

    def _no_conflicts(self, files: Sequence[BundleFile], replace: bool) -> None:
        for path in sorted({shown(self.target, file.path) for file in files}):
            self._no_conflict(path, replace)

    def _no_conflict(self, path: str, replace: bool) -> None:
        place = self._base
        for part in path.split("/")[:-1]:
            place /= part
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise _conflict(place.relative_to(self._base), "is there and is no directory")
        place = self._base / path
        if self._is_ours(path) or not _is_there(place):
            return
        if place.is_dir() and not place.is_symlink() and not self.directories_are_replaced:
            raise _conflict(path, "is there and is a directory")
        if not replace:
            raise _conflict(path, "is there already, put there by hand")

    # Unpacked bundles

    def _unpack(self, sha256: str, files: Sequence[BundleFile]) -> None:
        place = self._own / sha256
        manifest = msgspec.json.encode(entries(files))
        if place.is_dir():
            # It was here before: what was changed by hand since is as it should be again.
            for file, entry in zip(files, entries(files), strict=True):
                if not _is_whole(place / file.path, entry):
                    tree.make_directories(place, (place / file.path).parent)
                    tree.write(place / file.path, file.content, file.mode)
            tree.write(self._manifest_of(sha256), manifest, 0o644)
            for path, added in list(self._added(sha256)):
                _set_aside(added, self._aside(f"{sha256}.added"), path)
            return
        new = self._own / f".new-{sha256}"
        try:
            new.mkdir()
            new.chmod(0o755)
            for file in files:
                tree.make_directories(new, (new / file.path).parent)
                tree.write(new / file.path, file.content, file.mode)
            tree.write(self._manifest_of(sha256), manifest, 0o644)
            new.rename(place)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            raise
        tree.sync(self._own)

    def _unpacked(self, sha256: str) -> bool:
        """With all that is needed to switch to it."""
        return (
            bool(_SHA.fullmatch(sha256))
            and (self._own / sha256).is_dir()
            and bool(self._manifest(sha256))
        )

    def _added(self, sha256: str) -> Iterator[tuple[str, Path]]:
        """Files that were put among those of an unpacked bundle, and count as its own."""
        return iter(())

    def _manifest_of(self, sha256: str) -> Path:
        return self._own / f"{sha256}.json"

    def _manifest(self, sha256: str) -> tuple[BundleEntry, ...]:
        if not sha256:
            return ()
        try:
            return _manifests.decode(self._manifest_of(sha256).read_bytes())
        except (OSError, msgspec.MsgspecError):
            return ()

    def _look(self, entry: BundleEntry) -> InstalledFile:
        path = shown(self.target, entry.path)
        if not _is_there(self._base / path):
            return InstalledFile(path=entry.path, kind=FileKind.MISSING)
        if not _is_link_to(self._base / path, self._leads_to(path)):
            return InstalledFile(path=entry.path, kind=FileKind.HIDDEN)
        found = _told(entry.path, self._current / entry.path, FileKind.BUNDLE)
        if (found.sha256, found.mode) == (entry.sha256, entry.mode):
            return found
        kind = FileKind.CHANGED if found.sha256 else FileKind.MISSING
        return msgspec.structs.replace(found, kind=kind)

    def _prune(self) -> None:
        found = [place for place in self._own.iterdir() if _SHA.fullmatch(place.name)]
        found.sort(key=lambda place: place.stat().st_mtime, reverse=True)
        current = self.current()
        for place in [one for one in found if one.name != current][KEPT:]:
            shutil.rmtree(place, ignore_errors=True)
            self._manifest_of(place.name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time, also where an undo that was owed comes beside a new push."""
        # Scripts may run as other users, whatever our umask is.
        tree.make_directories(self._base, self._own)
        lock = os.open(self._own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def above(path: str) -> str:
    """From the directory of ``path`` up to where it begins."""
    return "../" * path.count("/")


def _is_there(place: Path) -> bool:
    return place.is_symlink() or place.exists()


def _set_aside(place: Path, aside: Path, path: str) -> None:
    """Move it below ``aside``; what was set aside there before is kept, under another number."""
    kept, number = aside / path, 0
    while _is_there(kept):
        number += 1
        kept = aside.with_name(f"{aside.name}.{number}") / path
    tree.make_directories(aside, kept.parent)
    place.rename(kept)


def _is_link_to(place: Path, target: str) -> bool:
    try:
        return str(place.readlink()) == target
    except OSError:
        return False


def _is_whole(place: Path, entry: BundleEntry) -> bool:
    found = _told(entry.path, place, FileKind.BUNDLE)
    return not place.is_symlink() and (found.sha256, found.mode) == (entry.sha256, entry.mode)


def _told(path: str, place: Path, kind: FileKind) -> InstalledFile:
    try:
        status = place.stat()
        content = place.read_bytes() if status.st_size <= MAX_CONTENT and place.is_file() else None
    except OSError:
        return InstalledFile(path=_text(path), kind=kind)
    sha256 = "" if content is None else hashlib.sha256(content).hexdigest()
    return InstalledFile(path=_text(path), kind=kind, sha256=sha256, mode=status.st_mode & 0o7777)


def _text(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()


def _conflict(path: object, why: str) -> Rejected:
    return Rejected(
        f"{path} {why}",
        "rename or remove it there, leave it out of the bundle, or push with --replace",
        reason=Reason.EXISTS,
    )
