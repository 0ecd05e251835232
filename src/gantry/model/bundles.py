"""Bundles of files for nodes: what may be in one, its hash, and how it is packed. Pure.

A bundle is of a *target*: ``hooks``, a set of files that the directory of hooks gets, or
``os/<name>``, an OS definition. Equal bundles have equal hashes, whoever packed them: a hash is
over paths, modes and contents.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gantry.model.errors import Rejected

MAX_PACKED: Final = 256 * 1024
"""Bytes of a packed bundle: it is one value of the store."""
MAX_CONTENT: Final = 4 * 1024 * 1024
"""Bytes of all files together."""
MAX_FILES: Final = 1000
MAX_PATH: Final = 200
MAX_DEPTH: Final = 8
EXECUTABLE: Final = 0o755
PLAIN: Final = 0o644
SECRET_EXECUTABLE: Final = 0o700
SECRET: Final = 0o600
MODES: Final = (EXECUTABLE, PLAIN, SECRET_EXECUTABLE, SECRET)
HOOKS: Final = "hooks"
OS_PREFIX: Final = "os/"
UNPACKED: Final = ".bundles"
"""Where a node has bundles unpacked, beside the hooks or definitions that are links into it."""
DEFINITIONS: Final = "srv/ganeti/os"
"""Below a node's root: the first directory of the search path, where definitions are pushed to."""
_OS_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME: Final = re.compile(r"[A-Za-z0-9_+@-][A-Za-z0-9_+@.-]*")


class BundleFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file; ``path`` is below the directory of hooks, or of the definition."""

    path: str
    mode: int
    content: bytes


class BundleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a file without its content; ``sha256`` in hexadecimal, ``size`` in bytes."""

    path: str
    mode: int
    sha256: str
    size: int


_decoder = msgspec.msgpack.Decoder(tuple[BundleFile, ...])


def of_os(name: str) -> str:
    """The target of an OS definition, or Rejected where that cannot be its name."""
    if not _OS_NAME.fullmatch(name):
        raise Rejected(
            f"{name!r} cannot be the name of an OS definition",
            "letters, digits, _ and -, at most 64 of them",
        )
    return OS_PREFIX + name


def check_target(target: str) -> str:
    """The target, or Rejected where there is none of that name."""
    return target if target == HOOKS else of_os(os_name(target))


def os_name(target: str) -> str:
    """The name of the OS definition that it is; empty for hooks."""
    return target.removeprefix(OS_PREFIX) if target.startswith(OS_PREFIX) else ""


def shown(target: str, path: str) -> str:
    """Where a node shows a file of a bundle, below the directory that all of the kind are in.

    Each of the hooks has its place beside those that were put there by hand; a definition is in
    its place as a whole.
    """
    return os_name(target) or path


def normal_mode(mode: int) -> int:
    """The mode that a file gets: executable or not; its owner's alone where it was so before."""
    executable, shared = bool(mode & 0o100), bool(mode & 0o077)
    if executable:
        return EXECUTABLE if shared else SECRET_EXECUTABLE
    return PLAIN if shared else SECRET


def check_path(path: str) -> str:
    """The path, or Rejected: it stays below its directory, and no part of it is hidden."""
    parts = path.split("/")
    if len(path) > MAX_PATH or len(parts) > MAX_DEPTH or not all(map(_NAME.fullmatch, parts)):
        raise Rejected(
            f"a bundle cannot have a file {path!r}",
            f"at most {MAX_DEPTH} names with / between them, {MAX_PATH} characters in all; names "
            "of letters, digits and _ + @ . - that do not begin with a dot",
        )
    return path


def check(files: Iterable[BundleFile]) -> tuple[BundleFile, ...]:
    """The files in the order of their paths; Rejected where they are no bundle."""
    found = tuple(sorted(files, key=lambda one: one.path))
    if not found:
        raise Rejected("a bundle without files installs nothing", "rollback --to 0 takes one away")
    if len(found) > MAX_FILES:
        raise Rejected(f"{len(found)} files are more than the {MAX_FILES} of a bundle")
    size = sum(len(one.content) for one in found)
    if size > MAX_CONTENT:
        raise Rejected(
            f"{size} bytes are more than the {MAX_CONTENT} of a bundle",
            "let scripts read large files from elsewhere",
        )
    paths = [check_path(one.path) for one in found]
    directories = {
        "/".join(parts[:n]) for parts in map(_split, paths) for n in range(1, len(parts))
    }
    twice = {one for one, following in itertools.pairwise(paths) if one == following}
    if wrong := sorted(twice | (directories & set(paths))):
        raise Rejected(f"{wrong[0]} is in the bundle twice, or a file and a directory")
    for one in found:
        if one.mode not in MODES:
            raise Rejected(f"{one.path} has mode {one.mode:o}; a bundle has 755, 644, 700 and 600")
    return found


def entries(files: Sequence[BundleFile]) -> tuple[BundleEntry, ...]:
    """What there is to say of each."""
    return tuple(
        BundleEntry(
            path=one.path,
            mode=one.mode,
            sha256=hashlib.sha256(one.content).hexdigest(),
            size=len(one.content),
        )
        for one in files
    )


def digest(files: Sequence[BundleEntry]) -> str:
    """The bundle's hash: 64 hexadecimal digits."""
    lines = (f"{one.mode:o} {one.sha256} {one.path}\n" for one in sorted(files, key=_path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def pack(files: Sequence[BundleFile]) -> bytes:
    """As it travels and is stored; Rejected where it is too large."""
    packed = zlib.compress(msgspec.msgpack.encode(tuple(files)), 9)
    if len(packed) > MAX_PACKED:
        raise Rejected(
            f"packed, the bundle has {len(packed)} bytes; at most {MAX_PACKED}",
            "let scripts read large files from elsewhere",
        )
    return packed


def unpack(packed: bytes) -> tuple[BundleFile, ...]:
    """The files again, checked; Rejected where these bytes are no bundle."""
    if len(packed) > MAX_PACKED:
        raise Rejected(f"{len(packed)} bytes are more than the {MAX_PACKED} of a packed bundle")
    unpacking = zlib.decompressobj()
    # Contents, and some hundred bytes for each file.
    most = MAX_CONTENT + MAX_FILES * (MAX_PATH + 100)
    try:
        data = unpacking.decompress(packed, most)
        if not unpacking.eof or unpacking.unused_data:
            raise Rejected("these bytes are no bundle: too long when unpacked, or cut off")
        return check(_decoder.decode(data))
    except (zlib.error, msgspec.MsgspecError, ValueError) as error:
        raise Rejected(f"these bytes are no bundle: {error}") from None


def _split(path: str) -> list[str]:
    return path.split("/")


def _path(entry: BundleEntry) -> str:
    return entry.path
