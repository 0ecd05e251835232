"""Where the parts of a local cluster are in its directory, and whether the directory will do."""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gantry.local.description import LocalNode
from gantry.model.errors import OperationFailed, Reason, Rejected

_SOCKET_PATH: Final = 107
"""Bytes that a Unix socket's path can have (unix(7): sun_path, with its final NUL)."""
_LONGEST_BELOW: Final = len("/node99/run/gantry/guests/") + 36
"""The longest path of ours below the directory: a guest's socket, named after its uuid."""


class Role(enum.StrEnum):
    """The daemons."""

    AGENT = "agent"
    MASTER = "master"
    SIMULATE = "simulate"
    """The agents of several simulated nodes."""
    ETCD = "etcd"
    """A member of the store."""


class Layout:
    """Paths in one cluster's directory (absolute, links resolved)."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.kernel = self.directory / "guest-kernel"
        self.shared = self.directory / "shared-file-storage"

    def root(self, node: LocalNode) -> Path:
        """A node's root."""
        return self.directory / node.label

    def program(self, node: LocalNode, name: str) -> Path:
        """One of the programs of a node."""
        return self.root(node) / "bin" / name

    def log(self, node: LocalNode, role: Role) -> Path:
        """What a daemon says on its standard error."""
        return self.root(node) / "var/log/gantry" / f"{role}.err"

    def record(self, node: LocalNode, role: Role) -> Path:
        """Which process the daemon is."""
        return self.directory / "processes" / f"{node.label}-{role}.json"

    def check(self) -> None:
        """Rejected where the directory is too deep for Unix sockets, or no directory."""
        length = len(os.fsencode(self.directory))
        if length + _LONGEST_BELOW > _SOCKET_PATH:
            raise Rejected(
                f"the path {self.directory} is too long for a local cluster: it has {length} "
                f"bytes, and at most {_SOCKET_PATH - _LONGEST_BELOW} leave room for sockets",
                "choose a directory with a shorter name, such as /tmp/gantry",
            )
        if any(character in str(self.directory) for character in ":\n,"):
            raise Rejected(
                f"{str(self.directory)!r} cannot hold a local cluster: its name has a colon, "
                "a comma or a line end",
                "PATH and QEMU give these a meaning; choose another name",
            )

    def make(self) -> None:
        """Create the directory; OperationFailed where that cannot be."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            for part in (self.shared, self.directory / "processes"):
                part.mkdir(exist_ok=True)
        except OSError as error:
            raise OperationFailed(
                f"cannot make {error.filename}: {error.strerror}",
                "choose another directory with --dir, or mend the rights",
                reason=Reason.ENVIRONMENT,
            ) from error

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else brings this cluster up or down meanwhile; Rejected where somebody does."""
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        try:
            descriptor = os.open(self.directory / "lock", flags, 0o600)
        except OSError as error:
            raise Rejected(
                f"cannot use {self.directory}: {error.strerror}",
                "the cluster there is another user's: run this as that user, or choose "
                "another directory with --dir",
                reason=Reason.ENVIRONMENT,
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Rejected(
                    f"somebody else is bringing the cluster in {self.directory} up or down",
                    "wait for it to finish",
                    reason=Reason.STATE,
                ) from error
            yield
        finally:
            os.close(descriptor)
