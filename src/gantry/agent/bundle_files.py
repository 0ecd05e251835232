"""A node's bundle of hooks on its disk: unpacked beside the old one, switched by one rename.

    etc/ganeti/hooks/.bundles/<sha256>/…      an unpacked bundle, never changed
    etc/ganeti/hooks/.bundles/<sha256>.json   what its files are
    etc/ganeti/hooks/.bundles/current         a link to one of them
    etc/ganeti/hooks/<directory>/<script>     a link to ../.bundles/current/<directory>/<script>
    etc/ganeti/hooks/.bundles/aside/<sha256>/ local files that this bundle replaced
    etc/ganeti/hooks/.bundles/pending         which bundle is being switched to

Names that begin with a dot are not read as hooks. The links that a new bundle needs are made
before the switch, when they lead nowhere and nothing runs by them, and those that it does not
need are removed after it. The policy never leads nowhere, for then every script would be denied:
around the switch its link leads right into the bundle that has one. Whatever moment an agent is
killed at, the next one finishes what was switched or takes back what was not, before it runs
anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import tree
from gantry.hooks.policy import FILE as POLICY
from gantry.model.bundle_orders import FileKind, InstalledBundle, InstalledFile
from gantry.model.bundles import MAX_CONTENT, MAX_DEPTH, BundleEntry, BundleFile, entries
from gantry.model.errors import Reason, Rejected

DIRECTORY: Final = ".bundles"
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


class Bundles:
    """The bundles below one directory of hooks. All methods block; OSError where a disk does."""

    def __init__(self, hooks: Path) -> None:
        self._hooks = hooks
        self._own = hooks / DIRECTORY
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
        return InstalledBundle(
            sha256=current, files=tuple(sorted(found, key=lambda one: (one.path, one.kind)))
        )

    # Switching

    def _switch(self, pending: _Pending) -> None:
        tree.write(self._pending, msgspec.json.encode(pending), 0o600)
        for path in self._paths(pending.to) - {POLICY}:
            self._link(path, aside=None)
        self._hold_policy(pending.to)
        self._point(pending.to)
        self._finish(pending)

    def _hold_policy(self, to: str) -> None:
        """Where only one of the bundles has a policy, its link does not go by the switch."""
        having = [one for one in (self.current(), to) if POLICY in self._paths(one)]
        place = self._hooks / POLICY
        local = (place.is_symlink() or place.exists()) and not _is_ours(place, POLICY)
        if len(having) == 1 and not local:
            tree.replace_link(place, f"{DIRECTORY}/{having[0]}/{POLICY}")

    def _paths(self, sha256: str) -> set[str]:
        return {entry.path for entry in self._manifest(sha256)}

    def _finish(self, pending: _Pending) -> None:
        """What is left to do once the new bundle is switched to."""
        wanted = self._paths(pending.to)
        aside = self._own / "aside" / pending.to if pending.replace else None
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
        """The link of a file of the bundle; a local file is left, or moved below ``aside``."""
        place, target = self._hooks / path, _target(path)
        if _is_link_to(place, target):
            return
        if not _is_ours(place, path) and (place.is_symlink() or place.exists()):
            if aside is None:
                return
            kept = aside / path
            tree.make_directories(aside, kept.parent)
            place.rename(kept)
        tree.make_directories(self._hooks, place.parent)
        tree.replace_link(place, target)

    def _unlink(self, path: str) -> None:
        place = self._hooks / path
        place.unlink()
        for parent in place.relative_to(self._hooks).parents:
            # One with other files in it stays.
            with contextlib.suppress(OSError):
                if parent != Path():
                    (self._hooks / parent).rmdir()

    def _links(self) -> list[str]:
        """Our links, whichever bundle they were made for."""
        return [path for path, place in tree.walk(self._hooks, MAX_DEPTH) if _is_ours(place, path)]

    def _local(self) -> Iterator[tuple[str, Path]]:
        for path, place in tree.walk(self._hooks, MAX_DEPTH):
            if not _is_ours(place, path):
                yield path, place

    def _bring_back(self, sha256: str) -> None:
        aside = self._own / "aside" / sha256
        for path, kept in tree.walk(aside, MAX_DEPTH):
            place = self._hooks / path
            if not (place.is_symlink() or place.exists()):
                tree.make_directories(self._hooks, place.parent)
                kept.rename(place)

    def _no_conflicts(self, files: Sequence[BundleFile], replace: bool) -> None:
        for file in files:
            self._no_conflict(file.path, replace)

    def _no_conflict(self, path: str, replace: bool) -> None:
        place = self._hooks
        for part in path.split("/")[:-1]:
            place /= part
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise _conflict(place.relative_to(self._hooks), "is there and is no directory")
        place = self._hooks / path
        if _is_link_to(place, _target(path)) or not (place.is_symlink() or place.exists()):
            return
        if place.is_dir() and not place.is_symlink():
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
        place = self._hooks / entry.path
        if not (place.is_symlink() or place.exists()):
            return InstalledFile(path=entry.path, kind=FileKind.MISSING)
        if not _is_link_to(place, _target(entry.path)):
            return InstalledFile(path=entry.path, kind=FileKind.HIDDEN)
        found = _told(entry.path, place, FileKind.BUNDLE)
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
        tree.make_directories(self._hooks, self._own)
        lock = os.open(self._own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _target(path: str) -> str:
    """Where the link of a file leads, relative to its directory."""
    return "../" * path.count("/") + f"{DIRECTORY}/current/{path}"


def _is_ours(place: Path, path: str) -> bool:
    """Whether it is a link into one of our bundles, the one that it should be or another."""
    try:
        return str(place.readlink()).startswith("../" * path.count("/") + f"{DIRECTORY}/")
    except OSError:
        return False


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
