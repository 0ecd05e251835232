"""Members of etcd, ways to them that fail, and stores that have little patience."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import pytest
from tests.support.etcd import Etcd, etcd
from tests.support.proxy import HttpProxy

from gantry.store.etcd import Access, EtcdStore, Patience, open_etcd

Open = Callable[..., Awaitable[EtcdStore]]
QUICK = Patience(tries=(0.4, 1.0), whole=20.0)


@pytest.fixture(scope="session")
def members() -> Iterator[Etcd]:
    """Three that no test takes down."""
    with etcd() as made:
        yield made


@pytest.fixture
def own_members() -> Iterator[Etcd]:
    """Three that a test may do anything to."""
    with etcd() as made:
        yield made


@pytest.fixture
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens stores below a prefix of the test's own; they are closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_(
            urls: Sequence[str], writer: str | None = None, patience: Patience = QUICK
        ) -> EtcdStore:
            access = Access(endpoints=tuple(urls), prefix=f"/{request.node.name}/")
            store = await open_etcd(access, writer=writer, patience=patience)
            stack.push_async_callback(store.close)
            return store

        yield open_


@pytest.fixture
async def proxies(members: Etcd) -> AsyncIterator[list[HttpProxy]]:
    """One in front of each member that no test takes down."""
    made = [HttpProxy(url) for url in members.urls]
    for each in made:
        await each.start()
    yield made
    for each in made:
        await each.close()
