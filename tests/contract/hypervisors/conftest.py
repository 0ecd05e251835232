from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.hypervisors import worlds

from gantry.model import parameters


@pytest.fixture(params=["fake", pytest.param("kvm", marks=pytest.mark.qemu)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> worlds.World:
    if request.param == "fake":
        return worlds.FakeWorld(tmp_path)
    if shutil.which(str(parameters.KVM["kvm_path"])) is None:
        pytest.fail("QEMU is missing; `make install` brings it")
    return worlds.KvmWorld(tmp_path)


@pytest.fixture
async def node(world: worlds.World) -> AsyncIterator[worlds.Node]:
    node = worlds.Node(world)
    await node.open()
    yield node
    await node.driver.close()
    worlds.kill_all(world.root)
