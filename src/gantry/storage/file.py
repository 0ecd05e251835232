"""Disks that are files on the node's own file system (template ``file``)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gantry.model.orders import DiskSpec


class FileStorage:
    """Disks as files below ``directories``, which hang below ``root``."""

    def __init__(self, root: Path, directories: Iterable[str]) -> None:
        self._root = root
        self._directories = tuple(directories)

    async def create(self, disk: DiskSpec) -> None:
        """An empty disk of that size."""
        raise NotImplementedError

    async def remove(self, disk: DiskSpec) -> None:
        """The disk is gone afterwards."""
        raise NotImplementedError

    async def exists(self, disk: DiskSpec) -> bool:
        """Whether it is there."""
        raise NotImplementedError

    def real_path(self, disk: DiskSpec) -> str:
        """Its path on this machine."""
        raise NotImplementedError
