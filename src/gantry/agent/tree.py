"""Changing a tree of files so that what is seen of it is always whole; all functions block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def replace_link(place: Path, target: str) -> None:
    """Make ``place`` a link to ``target``, whatever it was."""
    part = place.with_name(f".{place.name}.new")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(place)


def make_directories(above: Path, directory: Path) -> None:
    """Those that are missing from ``above`` to ``directory``, readable whatever our umask is."""
    missing = []
    while directory != above and not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    if not above.is_dir():
        above.mkdir(parents=True)
        above.chmod(0o755)
    for one in reversed(missing):
        one.mkdir()
        one.chmod(0o755)


def walk(top: Path, depth: int, above: str = "") -> Iterator[tuple[str, Path]]:
    """Every file and link below ``top``, hidden ones left out, with its path below it."""
    try:
        found = sorted(os.scandir(top), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        path = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth > 1:
                yield from walk(top / entry.name, depth - 1, f"{path}/")
        else:
            yield path, top / entry.name


def write(path: Path, content: bytes, mode: int) -> None:
    """As a whole, and on the disk when it returns."""
    part = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def sync(directory: Path) -> None:
    """What was renamed in it is on the disk when it returns."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
