"""A definition with the environment of one script, as one file for an installation guest.

A tar archive with the directory ``os``, which is the definition, and the file ``environment``,
a line ``NAME='value'`` for each variable, as a shell reads it. A link to a file of the definition
is that file, one that leads out of it stays a link. It is in memory alone, since
secret parameters are in it, and goes with its last descriptor.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gantry.model.errors import OperationFailed, Reason
from gantry.osdefs.search import walk

if TYPE_CHECKING:
    import tarfile

ENVIRONMENT: Final = "environment"
DIRECTORY: Final = "os"
MOST: Final = 64 << 20
"""Bytes of a definition's files: they are in the node's memory while the guest runs."""
_SECTOR: Final = 512
_FILE, _LINK, _DIRECTORY = b"0", b"2", b"5"
"""Kinds of entries, as tar writes them; ``tarfile`` is loaded with the first definition only."""


@contextlib.contextmanager
def package(definition: Path, variables: Mapping[str, str]) -> Iterator[int]:
    """The open file; OperationFailed where the definition is too large, or cannot be read."""
    descriptor = os.memfd_create("os-package", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "r+b", closefd=False) as file:
            try:
                _write(file, definition, variables)
            except OSError as error:
                raise OperationFailed(
                    f"the OS definition {definition} cannot be handed over to a guest: {error}",
                    "mend the rights of its files",
                    reason=Reason.ENVIRONMENT,
                ) from error
        size = os.fstat(descriptor).st_size
        # A disk has whole sectors.
        os.ftruncate(descriptor, -(-size // _SECTOR) * _SECTOR)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(file: io.BufferedRandom, definition: Path, variables: Mapping[str, str]) -> None:
    import tarfile

    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
        _add(archive, ENVIRONMENT, 0o600, text.encode("utf-8", "surrogateescape"))
        _directory(archive, DIRECTORY)
        made, left = {DIRECTORY}, MOST
        root = f"{os.path.realpath(definition)}/"
        for path in walk(definition):
            status = _status(path, root)
            name = f"{DIRECTORY}/{path.relative_to(definition)}"
            for parent in [*reversed(Path(name).parents)][1:]:
                if str(parent) not in made:
                    made.add(str(parent))
                    _directory(archive, str(parent))
            if stat.S_ISDIR(status.st_mode) and name not in made:
                made.add(name)
                _directory(archive, name)
            if stat.S_ISLNK(status.st_mode):
                _link(archive, name, str(path.readlink()))
            if not stat.S_ISREG(status.st_mode):
                continue
            left -= status.st_size
            if left < 0:
                raise _too_large(definition)
            _add(archive, name, stat.S_IMODE(status.st_mode), path.read_bytes())


def _status(path: Path, root: str) -> os.stat_result:
    """Of a link that of the file below ``root`` to which it leads, else its own."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) and os.path.realpath(path).startswith(root):
        with contextlib.suppress(OSError):
            found = path.stat()
            return status if stat.S_ISDIR(found.st_mode) else found
    return status


def _directory(archive: tarfile.TarFile, name: str) -> None:
    _add(archive, name, 0o755, kind=_DIRECTORY)


def _link(archive: tarfile.TarFile, name: str, target: str) -> None:
    """As it is, for what leads out: the script's author is not to read any file of the node."""
    _add(archive, name, 0o777, kind=_LINK, target=target)


def _add(
    archive: tarfile.TarFile,
    name: str,
    mode: int,
    content: bytes = b"",
    *,
    kind: bytes = _FILE,
    target: str = "",
) -> None:
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(content), target
    archive.addfile(entry, io.BytesIO(content))


def _too_large(definition: Path) -> OperationFailed:
    return OperationFailed(
        f"the OS definition {definition} has more than {MOST >> 20} MiB of files, too many to be "
        "handed over to a guest",
        "let its script fetch what is large, or put it into the install image",
        reason=Reason.ENVIRONMENT,
    )
