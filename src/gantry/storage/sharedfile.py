"""Disks that are files on a file system which all nodes share (template ``sharedfile``)."""

from __future__ import annotations

from pathlib import Path

from gantry.model.errors import OperationFailed, Reason
from gantry.storage.file import FileStorage


class SharedFileStorage(FileStorage):
    """Like ``file``; but the directory must be there: one that is missing is not mounted."""

    def prepare(self, directory: Path) -> None:
        """Refuse to make the directory: the disk would land below the mount point."""
        if not directory.is_dir():
            raise OperationFailed(
                f"the shared directory {directory} is not there",
                "mount the shared file system on every node, or make the directory",
                reason=Reason.ENVIRONMENT,
            )
