"""Finding scripts that were started by an earlier process of ours, by what they were told.

A process that is killed between starting a script and noting it down leaves no other trace.
Ending what is found is the business of ``gantry.host.process``.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from gantry.host.daemon import Identity, identity


def marked(markers: Collection[tuple[str, ...]]) -> list[Identity]:
    """Leaders of sessions whose environment has all of one marker's ``NAME=value`` strings."""
    wanted = [{part.encode() for part in marker} for marker in markers]
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and _has(int(directory.name), wanted):
            which = identity(int(directory.name))
            if which is not None:
                found.append(which)
    return found


def _has(pid: int, wanted: Collection[set[bytes]]) -> bool:
    try:
        if pid == os.getpid() or os.getsid(pid) != pid:
            return False
        environment = set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return False
    return any(parts <= environment for parts in wanted)
