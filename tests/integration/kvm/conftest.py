from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.hypervisors import worlds


@pytest.fixture
def world(tmp_path: Path) -> worlds.KvmWorld:
    return worlds.KvmWorld(tmp_path)


@pytest.fixture
async def node(world: worlds.KvmWorld) -> AsyncIterator[worlds.Node]:
    node = worlds.Node(world)
    await node.open()
    yield node
    await node.driver.close()
    worlds.kill_all(world.root)
