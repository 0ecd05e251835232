"""What lies beside a replica of a mirrored disk and says which one it is: ``.NAME.replica``.

It is changed before the file is written to, and again when that has come to an orderly end, so
that a file which anybody else has written to, or which belongs to another disk, is told apart.
Which replica of a disk is current is not decided here, but in the cluster's state.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec

from gantry.model.entities import ReplicaState
from gantry.model.names import Uuid

NAME: Final = "replica"
_MIB: Final = 1024 * 1024


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """The generation that a replica is of as soon as the store says so, and its content's word."""

    generation: int
    content: str


class ReplicaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``size`` is in MiB. ``mtime_ns`` is the file's own time when it was last closed in order.

    ``clean``: it was closed in order since it was last opened. ``written``: it was ever opened.
    ``content`` is another random word whenever somebody else than the node that it was served
    to may have written to it: with the same word it is what that node knows of it.
    ``before``: the MiB that it had before a growth to ``size`` which has not come to its end.
    ``bitmaps``: the digest of the file with what QEMU had counted at that orderly end; "" where
    there is none, and as soon as anybody is about to write.
    ``following``: it was made ready for the disk's primary to change.
    """

    disk: Uuid
    generation: int
    state: ReplicaState
    size: int
    clean: bool = True
    mtime_ns: int = 0
    written: bool = False
    content: str = ""
    before: int = 0
    bitmaps: str = ""
    following: Following | None = None

    def of(self, generation: int) -> ReplicaRecord:
        """As it is where the store says that generation."""
        if self.following is None or self.following.generation != generation:
            return self
        return msgspec.structs.replace(
            self,
            generation=generation,
            content=self.following.content,
            bitmaps="",
            following=None,
        )


def read(path: Path) -> ReplicaRecord | None:
    """The record at ``path``; None where there is none. msgspec.MsgspecError: damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReplicaRecord)
    except FileNotFoundError:
        return None


def write(path: Path, record: ReplicaRecord) -> None:
    """Replace it; on disk when this returns. OSError."""
    made = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(made, flags, 0o600), "wb") as file:
        file.write(msgspec.json.encode(record))
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def expect(path: Path, found: ReplicaRecord, generation: int) -> str:
    """It fits that generation as well, which is to come; the word for its content then. OSError."""
    if found.following is not None and found.following.generation == generation:
        return found.following.content
    following = Following(generation=generation, content=secrets.token_hex(8))
    write(path, msgspec.structs.replace(found, following=following))
    return following.content


def opened(found: ReplicaRecord, generation: int) -> ReplicaRecord:
    """As it is when its own node is about to write, in that generation."""
    return msgspec.structs.replace(
        found,
        generation=generation,
        clean=False,
        written=True,
        content=secrets.token_hex(8),
        bitmaps="",
        following=None,
    )


def problem(
    found: ReplicaRecord | None, disk: Uuid, generation: int, size: int, file: os.stat_result | None
) -> str:
    """Why a replica must not be used as the one of that disk and generation; "" where it may.

    ``file`` is what is there, None where nothing is. ``size`` is the disk's, in MiB: one that is
    smaller missed a growth, and becomes as large when it is opened.
    """
    if file is None:
        return "it is not there"
    if found is None:
        return "it has no record of whose it is"
    if found.disk != disk:
        return f"it belongs to another disk ({found.disk})"
    if found.generation != generation:
        return f"it is of generation {found.generation}, not {generation}"
    least = found.before or found.size
    if not least * _MIB <= file.st_size <= found.size * _MIB:
        return f"it has {file.st_size} bytes instead of {found.size} MiB"
    if file.st_size > size * _MIB:
        return f"it has {found.size} MiB, and the disk has {size}"
    if found.clean and not found.before and file.st_mtime_ns != found.mtime_ns:
        return "somebody else has written to it since it was last closed"
    return ""
