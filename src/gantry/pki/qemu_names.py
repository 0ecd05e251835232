"""The node's certificates under the names that QEMU looks for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gantry.pki import files

NAMES: Final = (
    ("ca-cert.pem", "ca.pem"),
    ("server-cert.pem", "node.pem"),
    ("server-key.pem", "node.key"),
    ("client-cert.pem", "node.pem"),
    ("client-key.pem", "node.key"),
)
"""What QEMU calls the files of certificates, and how they are called here."""


def prepare(root: Path, directory: Path) -> Path:
    """A directory (mode 700) with links of those names; one that is complete stays. OSError."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki = files.directory(root)
    for name, ours in NAMES:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(pki / ours)
    return directory
