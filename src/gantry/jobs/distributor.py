"""The ``ssconf_*`` files on every node; stub."""

from __future__ import annotations

from gantry.jobs.context import Context


class Distributor:
    """Writes them where they changed."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def distribute(self) -> None:
        """Bring all reachable nodes up to date."""
