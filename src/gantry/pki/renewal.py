"""Giving certificates a new term; their keys stay. Needs ``cryptography``.

The master renews its own; those of other nodes are renewed where their files can be reached
(local clusters) or by joining again with a token.
"""

from __future__ import annotations

from pathlib import Path

from gantry.model.errors import Rejected
from gantry.pki import files
from gantry.pki.authority import Authority


def renew(authority: Authority, root: Path, now: float) -> tuple[str, ...]:
    """Renew all certificates below ``root`` that are of this CA; the names of their files.

    The agent, the master and the API must be started again to use them.
    """
    done = []
    for path in sorted(files.directory(root).glob("*.pem")):
        if path.name == f"{files.CA}.pem":
            continue
        try:
            renewed = authority.renew(path.read_text(), now)
        except (Rejected, ValueError) as error:
            raise Rejected(f"{path} cannot be renewed: {error}") from error
        files.write(path, renewed)
        done.append(path.name)
    return tuple(done)
