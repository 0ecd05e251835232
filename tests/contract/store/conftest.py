"""The stores that the suite runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.store.drivers import DRIVERS, Driver
from tests.contract.store.processes import Processes

from gantry.ports.store import Store


@pytest.fixture(params=sorted(DRIVERS))
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    return DRIVERS[request.param](tmp_path)


@pytest.fixture(params=sorted(name for name, driver in DRIVERS.items() if driver.durable))
def durable_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    return DRIVERS[request.param](tmp_path)


@pytest.fixture(params=sorted(name for name, driver in DRIVERS.items() if driver.shared))
def shared_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Driver:
    return DRIVERS[request.param](tmp_path)


@pytest.fixture
async def store(driver: Driver) -> AsyncIterator[Store]:
    store = await driver.open()
    yield store
    await store.close()


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    await processes.end()
