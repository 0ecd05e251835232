"""``gantry master``: one process on every node, which is idle, standby or active.

*Idle*: the node is no master candidate. *Standby*: it is one, and another node has the master.
*Active*: this is the master. What the process is, is read from the node's files, each time that
it is woken and each time that it begins anew; only what that needs is loaded.
"""

from __future__ import annotations

import enum
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gantry.main.bell import MASTER_SOCKET, Bell, ProcessLock
from gantry.main.daemon import log_to, say_ready
from gantry.main.daemon_options import daemon_options
from gantry.model.errors import Reason, Rejected
from gantry.pki import files as certificates

logger = logging.getLogger("gantry.master")

LOG: Final = "var/log/gantry/master.log"
STATE: Final = "var/lib/gantry/state.db"
AGENT: Final = "etc/gantry/agent.json"
STORE: Final = "etc/gantry/store.json"


class Part(enum.Enum):
    """What this process has to be, as the node's files say."""

    IDLE = "idle"
    STANDBY = "standby"
    """Nothing can be done until files come."""
    CONTEST = "contest"
    """Whoever wins the election in the store is the master."""
    STATE = "state"
    """The state is in a file here: its owner is the master, or hands it over."""


def part(root: Path) -> Part:
    """From the files below ``root``; Rejected where this machine belongs to no cluster."""
    if not (root / AGENT).exists():
        raise Rejected(
            f"no cluster was made on this machine: {root / AGENT} is not there",
            "gnt-cluster init makes one; gantry join joins one",
            reason=Reason.ENVIRONMENT,
        )
    needed = [certificates.key(root, name) for name in (certificates.CA, certificates.MASTER)]
    if not all(path.exists() for path in needed):
        return Part.IDLE
    if (root / STORE).exists():
        return Part.CONTEST
    return Part.STATE if (root / STATE).exists() else Part.STANDBY


def main(arguments: Sequence[str]) -> int:
    """The sub-command; it ends with SIGTERM."""
    root, ready = daemon_options(
        arguments,
        "master",
        "Run this node's master process: the cluster's master, or one that waits.",
    )
    os.umask(0o077)
    os.chdir("/")
    part(root)
    log_to(root / LOG)
    lock = ProcessLock(root)
    return _live(root, ready, lock)


def _live(root: Path, ready: int | None, lock: ProcessLock) -> int:
    """Wait for as long as there is nothing else to do, then be what the files say."""
    now = part(root)
    if now in (Part.IDLE, Part.STANDBY):
        signal.signal(signal.SIGTERM, _end)
        bell = Bell(root)
        # A socket that a killed master left would be asked in vain.
        (root / MASTER_SOCKET).unlink(missing_ok=True)
        try:
            now = _wait(root, ready, bell)
            ready = None
        finally:
            bell.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if now is Part.CONTEST:
        from gantry.main import contest

        return contest.run(root, ready)
    from gantry.main import master

    return master.run(root, ready)


def _wait(root: Path, ready: int | None, bell: Bell) -> Part:
    """Until the process is something else than one that waits for files."""
    told = None
    while (now := part(root)) in (Part.IDLE, Part.STANDBY):
        if now is not told:
            logger.info("waiting state=%s", now.value)
        if told is None:
            say_ready(ready)
        told = now
        bell.wait()
    logger.info("woken")
    return now


def _end(number: int, frame: object) -> None:
    sys.exit(0)
