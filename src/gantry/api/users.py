"""Users with passwords: the file, checking, and remembering for a minute what was right.

One user a line: ``name argon2id-hash rights``, with rights ``read`` or ``write``. The file is
read again when it changed. No password and no hash is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gantry.api.caller import Caller, Rights
from gantry.model.errors import Reason, Rejected

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_log = logging.getLogger(__name__)

REMEMBERED: Final = 60.0
"""Seconds for which a password that was right is not checked again."""
_MOST_REMEMBERED: Final = 256
_MOST_CHECKS: Final = 2
"""Checks at a time: each takes a core for 25 ms and 19 MiB."""
_TIME_COST: Final = 2
_MEMORY_KIB: Final = 19 * 1024


class User(msgspec.Struct, frozen=True):
    """A line of the file."""

    name: str
    hash: str
    rights: Rights


def read(text: str, where: str) -> dict[str, User]:
    """The users in ``text``; Rejected names ``where`` and the line that is none."""
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        known = len(parts) == 3 and parts[1].startswith("$argon2id$")
        if not known or parts[2] not in (Rights.READ, Rights.WRITE) or ":" in parts[0]:
            raise Rejected(
                f"{where}, line {number} is not a user",
                "write: NAME ARGON2ID-HASH read, or write at the end; see docs/json.md",
                reason=Reason.ENVIRONMENT,
            )
        users[parts[0]] = User(parts[0], parts[1], Rights(parts[2]))
    return users


def hashed(password: str) -> str:
    """The hash that goes into the file."""
    return _hasher().hash(password)


class Users:
    """The users of one file; a missing file has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self._key = os.urandom(32)
        self._right: dict[bytes, tuple[float, User]] = {}
        self._checks = asyncio.Semaphore(_MOST_CHECKS)
        self._nobody = ""

    async def caller(self, name: str, password: str) -> Caller | None:
        """Who it is, or None; an unknown name takes as long as a wrong password."""
        self._refresh()
        user = self._users.get(name)
        seal = hmac.digest(self._key, f"{name}\0{password}".encode(), hashlib.sha256)
        remembered = self._right.get(seal)
        if remembered is not None and user is not None:
            until, then = remembered
            if time.monotonic() < until and then == user:
                return Caller(name, user.rights)
        async with self._checks:
            right = await asyncio.to_thread(self._verify, user, password)
        if not right or user is None:
            _log.warning("a wrong password, or an unknown user")
            return None
        self._remember(seal, user)
        return Caller(name, user.rights)

    def _remember(self, seal: bytes, user: User) -> None:
        now = time.monotonic()
        if len(self._right) >= _MOST_REMEMBERED:
            self._right = {key: one for key, one in self._right.items() if one[0] > now}
        if len(self._right) >= _MOST_REMEMBERED:
            self._right.clear()
        self._right[seal] = (now + REMEMBERED, user)

    def _verify(self, user: User | None, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        if not self._nobody:
            self._nobody = hashed(os.urandom(16).hex())
        try:
            return _hasher().verify(user.hash if user else self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._users = None, {}
            return
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp == self._stamp:
            return
        try:
            self._users = read(self._path.read_text(), str(self._path))
        except Rejected as error:
            # A file that is being mended must not lock everybody out, nor let anybody in.
            _log.error("%s; the users read before stay", error)
        self._stamp = stamp


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=_TIME_COST, memory_cost=_MEMORY_KIB, parallelism=1)
