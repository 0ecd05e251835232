"""A cluster of three nodes with a master."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.fakes.cluster import FakeCluster, instance


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make([instance(1), instance(2, node=2)])
    await made.start()
    await made.engine.settle()
    yield made
    await made.close()
