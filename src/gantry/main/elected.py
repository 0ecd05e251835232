"""What comes of an election that was won."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from gantry.jobs.election import Won
from gantry.model.errors import GantryError
from gantry.ports.store import Store


class Elected(msgspec.Struct, frozen=True):
    """What won the election in a store that many nodes have. The lease is being kept."""

    store: Store
    won: Won
    keeping: asyncio.Task[None]

    async def give_up(self) -> None:
        """Another node is to be the master: it need not wait for the lease's end."""
        self.keeping.cancel()
        if self.won.keeper is not None:
            with contextlib.suppress(GantryError):
                await self.won.keeper.give_up()
