"""Where certificates and keys lie below a node's root, and writing them safely.

``etc/gantry/pki`` (mode 700) has ``ca.pem``, ``node.pem`` and ``node.key``; on the master and on
master candidates also ``ca.key``, ``master.pem``, ``master.key``, ``api.pem`` and ``api.key``. All
are of mode 600. These and a few files beside the directory make a node able to be the master
(``MASTER_FILES``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gantry.model.candidate_orders import MASTER_FILES

DIRECTORY: Final = "etc/gantry/pki"
CA: Final = "ca"
NODE: Final = "node"
MASTER: Final = "master"
API: Final = "api"

BELOW: Final = "etc/gantry"
"""Names of a master's files (``MASTER_FILES``) are below it."""


def directory(root: Path) -> Path:
    """The directory of certificates of the node with that root."""
    return root / DIRECTORY


def certificate(root: Path, name: str) -> Path:
    """The path of a certificate, such as that of ``node``."""
    return directory(root) / f"{name}.pem"


def key(root: Path, name: str) -> Path:
    """The path of its key."""
    return directory(root) / f"{name}.key"


def of_master(root: Path) -> tuple[str, ...]:
    """The names of a master's files that are there."""
    return tuple(name for name in MASTER_FILES if (root / BELOW / name).is_file())


def write(path: Path, text: str) -> None:
    """Write a file of mode 600, atomically and durably, in a directory of mode 700."""
    prepare(path, text).replace(path)


def prepare(path: Path, text: str) -> Path:
    """The same, up to the last step: the file that takes the place of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    made = part(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(made, flags, 0o600), "w") as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return made


def part(path: Path) -> Path:
    """Where the new content of ``path`` is until it takes its place."""
    return path.with_name(f".{path.name}.new")
