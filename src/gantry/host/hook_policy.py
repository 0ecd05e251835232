"""Reading this node's ``hooks.toml``: followed only where nobody else could have written it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import Final

from gantry.hooks.policy import FILE, LIMIT, NONE, Finding, Policy, PolicyError
from gantry.host.accounts import Users

_MINE: Final = "a policy decides what runs as whom"

_Signature = tuple[int, int, int, int, int, int, int]
_read: dict[str, tuple[_Signature, Policy]] = {}


def read(base: Path) -> Policy:
    """The policy of the scripts below ``base``; PolicyError where it cannot be followed.

    Read again only where the file has changed.
    """
    path = f"{base}/{FILE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise _problem("it is a symbolic link to nothing") from None
        return NONE
    except OSError as error:
        raise _problem(f"it cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        signature = _signature(status)
        known = _read.get(path)
        if known is not None and known[0] == signature:
            return known[1]
        problem = _rights(status)
        if problem:
            raise _problem(problem)
        policy = _parsed(_content(descriptor))
    except OSError as error:
        raise _problem(f"it cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    _read[path] = signature, policy
    return policy


def findings(
    base: Path,
    *,
    scripts: Mapping[str, Collection[str]] | None = None,
    users: Container[str] | None = None,
) -> tuple[Finding, ...]:
    """All that there is to say of the file on this machine; nothing where there is none.

    Those with ``error`` are faults: of the file itself, or users that are not here. ``scripts``
    (names in each directory) and ``users`` are this machine's where they are not given.
    """
    found: list[Finding] = []
    try:
        read(base)
    except PolicyError as error:
        found += error.findings
    try:
        text = _text(f"{base}/{FILE}")
    except OSError:
        return tuple(found)
    from gantry.hooks import policy_file  # as below

    there = _scripts(base) if scripts is None else scripts
    said = policy_file.findings(text, scripts=there, users=users or Users())
    return (*(one for one in found if one not in said), *said)


def _scripts(base: Path) -> dict[str, list[str]]:
    """The names in each directory of scripts."""
    from gantry.hooks import policy_file  # as below

    found = {}
    for name in policy_file.directories():
        try:
            found[name] = os.listdir(base / name)  # noqa: PTH208 - names only
        except OSError:
            continue
    return found


def _parsed(content: bytes) -> Policy:
    # Most nodes have no policy: reading one takes memory that every agent would have.
    from gantry.hooks.policy_file import parse

    return parse(content)


def _text(path: str) -> bytes:
    """The content, also of a file that is not followed; nothing of what is no file."""
    # A pipe that nobody writes to would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _content(descriptor) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    found = b""
    while len(found) <= LIMIT and (piece := os.read(descriptor, LIMIT + 1)):
        found += piece
    return found


def _rights(status: os.stat_result) -> str:
    """Why a file with that status is not followed, or ""."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_uid not in (0, os.geteuid()):
        return f"user {status.st_uid} owns it, and {_MINE}: chown it to root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others than its owner may write to it, and {_MINE}: chmod go-w"
    return ""


def _problem(text: str) -> PolicyError:
    return PolicyError([Finding(message=text)])


def _signature(status: os.stat_result) -> _Signature:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
        status.st_uid,
    )
