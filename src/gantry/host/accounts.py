"""Users of this machine, and how a program is started as one without a fork of ours.

A fork of a big process takes 60 to 90 ms, so a small program changes its user and becomes
the other one: ``setpriv`` of util-linux.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

import msgspec

_SETPRIV: Final = ("/usr/bin/setpriv", "/bin/setpriv")


class NotPossible(Exception):
    """A program cannot be started as that user; the text says why."""


class Account(msgspec.Struct, frozen=True):
    """A user who is not ours."""

    name: str
    uid: int
    gid: int


def account(name: str) -> Account | None:
    """The user of that name; None where that is who we are. NotPossible where it cannot be done."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise NotPossible(f"there is no user {name} on this node") from None
    if found.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise NotPossible("only an agent that runs as root can run a script as another user")
    return Account(name, found.pw_uid, found.pw_gid)


def as_user(who: Account, path: str) -> list[str]:
    """The command that becomes ``path``, run by that user with all of his groups.

    NotPossible where it would not: the command must not run as a shell's what no program can run.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise NotPossible(str(error.strerror)) from None
    if not head.startswith((b"#!", b"\x7fELF")):
        raise NotPossible("Exec format error")
    for program in _SETPRIV:
        if os.access(program, os.X_OK):
            break
    else:
        raise NotPossible("there is no setpriv (package util-linux)")
    user = [f"--reuid={who.uid}", f"--regid={who.gid}", "--init-groups"]
    return [program, *user, "--inh-caps=-all", "--", path]


class Users:
    """The users of this machine, by name."""

    def __contains__(self, name: object) -> bool:
        try:
            pwd.getpwnam(str(name))
        except KeyError:
            return False
        return True
