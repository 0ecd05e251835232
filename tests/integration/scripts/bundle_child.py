"""Bundles for tests, and installing one in a process that dies at the N-th change of the disk.

Python tells an audit hook of every call that changes files before it is made. ``kill -9`` comes
there, so no code of ours can clean up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gantry.agent.bundle_hooks import HookBundles
from gantry.model.bundles import BundleFile, check, digest, entries

CHANGING = {"os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.utime"}


def bundle(words: str) -> tuple[BundleFile, ...]:
    """Scripts that say which bundle they are of; each has one that the other has not."""
    files = [
        BundleFile(
            path=f"instance-add-pre.d/{name}",
            mode=0o755,
            content=f"#!/bin/sh\necho {words} {name}\n".encode(),
        )
        for name in ("10-both", f"20-{words}", "30-both")
    ]
    files.append(BundleFile(path=f"{words}-only.d/10-x", mode=0o755, content=b"#!/bin/sh\n"))
    if words in ("new", "policed"):
        files.append(BundleFile(path="hooks.toml", mode=0o644, content=b"# a policy\n"))
    files.append(BundleFile(path="site/settings", mode=0o600, content=words.encode()))
    return check(files)


def sha256(words: str) -> str:
    """Its hash."""
    return digest(entries(bundle(words)))


def install_and_die(hooks: Path, words: str, last: int, *, replace: bool) -> int | None:
    """In a child: how many changes there were, or None where it was killed at the last one."""
    return die_at(
        last, lambda: HookBundles(hooks).install(sha256(words), bundle(words), replace=replace)
    )


def die_at(last: int, work: Callable[[], object]) -> int | None:
    """Do it in a child: how many changes there were, or None where it was killed at the last."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, str(_counted(last, work)).encode())
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    return int(told)


def _counted(last: int, work: Callable[[], object]) -> int:
    """Count the changes, and end at the last one."""
    seen = 0

    def told(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in CHANGING or writes:
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(told)
    work()
    return seen
