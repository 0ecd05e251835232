"""What the suite must know of a driver of the Store port; a new driver is added here only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

from tests.support.etcd import LEASE_SECONDS

from gantry.ports.store import Store
from gantry.store.etcd import Access, open_etcd
from gantry.store.memory import MemoryStore
from gantry.store.sqlite import open_sqlite

ETCD_URLS = "GANTRY_TEST_ETCD_URLS"


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


class EtcdDriver:
    """A prefix of its own for each directory, in the members that the environment names."""

    name = "etcd"
    lease_seconds = LEASE_SECONDS
    durable = True
    shared = True

    def __init__(self, directory: Path) -> None:
        mark = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
        urls = os.environ[ETCD_URLS].split(",")
        self._access = Access(endpoints=tuple(urls), prefix=f"/{mark}/")

    async def open(self) -> Store:
        return await open_etcd(self._access, writer="only")

    async def open_shared(self) -> Store:
        return await open_etcd(self._access)


# Each is built from an empty directory, again in every process that takes part.
DRIVERS: dict[str, type[MemoryDriver] | type[SqliteDriver] | type[EtcdDriver]] = {
    driver.name: driver for driver in (MemoryDriver, SqliteDriver, EtcdDriver)
}
