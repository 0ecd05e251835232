"""What the suite must know of a driver of the Store port; a new driver is added here only."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gantry.ports.store import Store
from gantry.store.memory import MemoryStore
from gantry.store.sqlite import open_sqlite


class Driver(Protocol):
    """One empty store, and ways to open it."""

    name: str
    # The shortest lease that the driver keeps to.
    lease_seconds: float
    # Whether the store is there again for another client after its last one is gone.
    durable: bool
    # Whether several processes may have it open at once.
    shared: bool

    async def open(self) -> Store:
        """The only client."""

    async def open_shared(self) -> Store:
        """One of several clients, in this process or another."""


class MemoryDriver:
    """Each opening is a store of its own."""

    name = "memory"
    lease_seconds = 0.3
    durable = False
    shared = False

    def __init__(self, directory: Path) -> None:
        del directory

    async def open(self) -> Store:
        return MemoryStore()

    async def open_shared(self) -> Store:
        return MemoryStore()


class SqliteDriver:
    """One file in the directory."""

    name = "sqlite"
    lease_seconds = 0.3
    durable = True
    shared = True

    def __init__(self, directory: Path) -> None:
        self._path = directory / "state"

    async def open(self) -> Store:
        return await open_sqlite(self._path)

    async def open_shared(self) -> Store:
        return await open_sqlite(self._path, exclusive=False)


# Each is built from an empty directory, again in every process that takes part.
DRIVERS: dict[str, type[MemoryDriver] | type[SqliteDriver]] = {
    driver.name: driver for driver in (MemoryDriver, SqliteDriver)
}
