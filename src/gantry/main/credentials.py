"""The certificates that a master uses, below its node's root."""

from __future__ import annotations

from pathlib import Path

from gantry.pki import files as certificates
from gantry.rpc.certificates import Files, expired, expiry


def certificates_hold(root: Path, now: float) -> None:
    """Rejected where a certificate of the master has ended: no agent would listen to it."""
    for name, whose in (
        (certificates.CA, "the cluster's CA"),
        (certificates.MASTER, "the master"),
        (certificates.API, "the API"),
    ):
        ends = expiry(certificates.certificate(root, name))
        if ends < now:
            raise expired(whose, ends)


def files_of(root: Path, name: str) -> Files:
    """Where the certificate of that name and its key are."""
    return Files(
        ca=certificates.certificate(root, certificates.CA),
        certificate=certificates.certificate(root, name),
        key=certificates.key(root, name),
    )
