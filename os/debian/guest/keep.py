"""A directory that keeps images that are costly to make, within a size, for a whole node."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from guest.inputs import Fault, say

_SUFFIX = ".raw"


def default_directory(name: str) -> Path:
    """Where root keeps it; another user has it at home."""
    if os.geteuid() == 0:
        return Path("/var/cache/gantry-os") / name
    return Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache/gantry-os" / name


class Keep:
    """Images by their key, a hash. ``most`` is the size of all together, in bytes."""

    def __init__(self, directory: Path, most: int) -> None:
        self.directory = directory
        self.most = most
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = directory.stat()
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            raise Fault(
                f"the directory {directory} may be written by others than the user of this script: "
                "give it to that user alone (chmod 700)"
            )

    def path(self, key: str) -> Path:
        """Where the image with that key is, or will be."""
        return self.directory / f"{key}{_SUFFIX}"

    @contextlib.contextmanager
    def locked(self, key: str) -> Iterator[Path]:
        """Hold the lock of one image while it is looked for or made; others wait for it.

        Gives a directory for what is not complete, which is emptied before and after.
        """
        descriptor = self._open_lock(key)
        try:
            self._wait(descriptor, key)
            self._remove_abandoned(key)
            work = self.directory / f"{key}.partial"
            _empty(work)
            work.mkdir(mode=0o700)
            try:
                yield work
            finally:
                _empty(work)
        finally:
            os.close(descriptor)

    def _wait(self, descriptor: int, key: str) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another installation that makes the image {key[:12]}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def take_in(self, made: Path, key: str) -> None:
        """A complete image becomes the one with that key; those used least recently make room."""
        descriptor = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        made.replace(self.path(key))
        self.clean(key)

    def used(self, key: str) -> None:
        """Note that an image was used just now; when it was made stays known."""
        path = self.path(key)
        os.utime(path, (time.time(), path.stat().st_mtime))

    def age(self, key: str) -> float | None:
        """Seconds since an image was made; None where there is none."""
        try:
            return time.time() - self.path(key).stat().st_mtime
        except FileNotFoundError:
            return None

    def clean(self, kept: str) -> None:
        """Remove what was used least recently until all is within the size; ``kept`` stays.

        What others open just now stays; images that are being copied stay readable for those
        who copy.
        """
        images = []
        for path in self.directory.glob(f"*{_SUFFIX}"):
            status = path.stat()
            images.append((status.st_atime, status.st_blocks * 512, path.stem))
        total = sum(size for _, size, _ in images)
        for _, size, key in sorted(images):
            if total > self.most and key != kept and self._remove(key):
                total -= size

    def _remove_abandoned(self, own: str) -> None:
        """What killed processes have left incomplete; what others make just now stays."""
        for path in self.directory.glob("*.partial"):
            if path.stem != own:
                with self._if_free(path.stem) as free:
                    if free:
                        _empty(path)

    def _remove(self, key: str) -> bool:
        with self._if_free(key) as free:
            if free:
                say(f"removing the image {key[:12]} from {self.directory}, used least recently")
                self.path(key).unlink(missing_ok=True)
            return free

    @contextlib.contextmanager
    def _if_free(self, key: str) -> Iterator[bool]:
        """Hold a lock that nobody else holds; otherwise False."""
        descriptor = self._open_lock(key)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)

    def _open_lock(self, key: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.directory / f"{key}.lock", flags, 0o600)


def _empty(work: Path) -> None:
    """A directory of our own, gone; links in it are not followed."""
    if work.is_dir():
        shutil.rmtree(work)
