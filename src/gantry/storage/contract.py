"""What every storage driver does; the agent knows drivers only by this Protocol.

Paths come without the node's root; the driver is built with the root and the directories
that are allowed, and refuses any path outside of them.
"""

from __future__ import annotations

from typing import Protocol

from gantry.model.orders import DiskSpec


class Storage(Protocol):
    """One disk template on one node. Idempotent; Rejected or OperationFailed with the cause."""

    async def create(self, disk: DiskSpec) -> None:
        """An empty disk of that size. What was begun is taken away again on failure."""

    async def remove(self, disk: DiskSpec) -> None:
        """The disk is gone afterwards, and its directory if it was the last one in it."""

    async def move(self, disk: DiskSpec, path: str) -> None:
        """The disk is at ``path`` afterwards, and its old directory gone if it is empty.

        Rejected where another file is there.
        """

    async def untouched(self, disk: DiskSpec) -> bool:
        """Whether it is there, and is what ``create`` gives."""

    async def exists(self, disk: DiskSpec) -> bool:
        """Whether it is there."""

    def real_path(self, disk: DiskSpec) -> str:
        """Its path on this machine, root included: what QEMU and OS scripts open."""
