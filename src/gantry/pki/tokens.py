"""The text that lets a machine join once: its form, and the hash that the store keeps.

Pure, and without ``cryptography``. Whether a token is known and young enough is decided by the
operation that uses it up.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec

from gantry.model.errors import Rejected

_PREFIX: Final = "gantry-join-1:"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ADDRESS: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9.-]+):[0-9]{1,5}")
SECRET_BYTES: Final = 32


class JoinToken(msgspec.Struct, frozen=True, kw_only=True):
    """``address`` is the API's (``host:port``), ``fingerprint`` the CA's SHA-256, in hex.

    ``others`` are where the API answers if another node has become the master meanwhile.
    """

    address: str
    fingerprint: str
    secret: str
    others: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them, the likeliest first."""
        return (self.address, *self.others)


def create(
    address: str, fingerprint: str, random: bytes, others: tuple[str, ...] = ()
) -> JoinToken:
    """A token whose secret is ``random`` (32 bytes that nobody else knows)."""
    if len(random) < SECRET_BYTES:
        raise ValueError("the secret of a token needs 32 random bytes")
    return JoinToken(address=address, fingerprint=fingerprint, secret=random.hex(), others=others)


def encode(token: JoinToken) -> str:
    """The text that is handed to the machine: one line."""
    return _PREFIX + base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def decode(text: str) -> JoinToken:
    """The token again, or Rejected."""
    line = text.strip()
    try:
        if not line.startswith(_PREFIX):
            raise ValueError
        data = base64.b64decode(line.removeprefix(_PREFIX), altchars=b"-_", validate=True)
        token = msgspec.json.decode(data, type=JoinToken)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _unreadable() from None
    if not (_HEX.fullmatch(token.fingerprint) and all(map(_ADDRESS.fullmatch, token.addresses))):
        raise _unreadable()
    return token


def secret_hash(secret: str) -> str:
    """What the store keeps of a token: SHA-256 in hex. The secret is random, so no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _unreadable() -> Rejected:
    return Rejected(
        "this is not a joining token, or a part of it is missing",
        "on the master: gantry token NAME > FILE; copy FILE whole; here: gantry join < FILE",
    )
