"""Orders and questions about what a node needs to be the master one day: its files of a master."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from gantry.model.asking import Nothing, Order, Question

MASTER_NAME: Final = "master.json"
OWN_FILES: Final = (MASTER_NAME, "pki/api.pem", "pki/api.key")
"""Those of a master's files that each candidate has its own of."""
MASTER_FILES: Final[tuple[str, ...]] = (
    "pki/ca.key",
    "pki/master.pem",
    "pki/master.key",
    "users",
    "store/ca.pem",
    "store/client.pem",
    "store/client.key",
    "store/password",
    # After what it names.
    "store.json",
    *OWN_FILES,
)
"""What a node needs to be the master, below ``etc/gantry``, in the order of writing; the CA's
certificate it has already."""


class MasterFilesHeld(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a master that a node has: SHA-256 (hex) by name.

    ``api`` is the certificate of the API that would be its own (PEM), which is no secret.
    """

    digests: dict[str, str] = {}
    api: str = ""


class ReadMasterFiles(Question[MasterFilesHeld], frozen=True, kw_only=True, tag="master-files"):
    """Which files of a master the node has."""

    answer: ClassVar[type[msgspec.Struct]] = MasterFilesHeld


class MasterFiles(Order[Nothing], frozen=True, kw_only=True, tag="master-files-write"):
    """Have exactly these files of a master, and wake the master process that waits on the node.

    ``files`` are contents by name, ``keep`` names of files that stay as they are; all others are
    removed, so that an order without any takes everything away. Names are among
    ``MASTER_FILES``. The contents are keys: an agent keeps no more of an order
    than its hash, and a master neither journals nor logs it.
    """

    files: dict[str, str] = {}
    keep: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"MasterFiles({sorted(self.files)}, keep={sorted(self.keep)})"
