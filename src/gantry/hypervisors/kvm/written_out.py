"""What a guest has written to its disks, and its node has not yet, just before it stands still.

QEMU writes all of it out in that moment. What has been written out before is not waited for then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from gantry.hypervisors.kvm.running import Running
from gantry.model.entities import DiskTemplate


class WrittenOut:
    """The mirrored disks of one guest; of none without the node's ``root``."""

    def __init__(self, running: Running, root: Path | None) -> None:
        self._files = [
            root / disk.path.lstrip("/")
            for disk in running.record.spec.disks
            if root is not None and disk.template is DiskTemplate.MIRROR
        ]
        self._work: asyncio.Task[None] | None = None

    def again(self) -> None:
        """Begin to write out what there is, unless that is still under way."""
        if self._files and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(asyncio.to_thread(_write_out, self._files))


def _write_out(files: list[Path]) -> None:
    """Nothing depends on it: what cannot be had is left to QEMU."""
    for file in files:
        with contextlib.suppress(OSError):
            opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fdatasync(opened)
            finally:
                os.close(opened)
