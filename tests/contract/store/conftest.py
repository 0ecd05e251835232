"""The stores that the suite runs on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.contract.store.drivers import DRIVERS, ETCD_URLS, Driver
from tests.contract.store.processes import Processes
from tests.support.etcd import Etcd, etcd

from gantry.ports.store import Store


@pytest.fixture(scope="session", autouse=True)
def members() -> Iterator[Etcd]:
    """Three members of etcd, for all tests and for their processes."""
    with etcd() as made:
        os.environ[ETCD_URLS] = ",".join(made.urls)
        yield made
        del os.environ[ETCD_URLS]


@pytest.fixture(autouse=True)
def no_leases(request: pytest.FixtureRequest, members: Etcd) -> Iterator[None]:
    """Revisions are etcd's: a lease that a test left would end in the middle of another one."""
    yield
    if "etcd" in request.node.name:
        members.revoke_leases()


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
