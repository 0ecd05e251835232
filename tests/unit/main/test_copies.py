"""Sending a copy of the state: whole, and nothing of it stays in the agent's memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.fakes.agents import FakeAgents
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import node_uuid
from tests.fakes.world import FakeNode, World

from gantry.main.copies import Copy, Sender
from gantry.model.errors import OperationFailed
from gantry.model.master_orders import StateFile


def history(directory: Path, data: bytes) -> Copy:
    path = directory / "history"
    path.write_bytes(data)
    file = StateFile(file="history", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return Copy(name="1", files=(file,), paths=(path,), taken=1.0, revision=7)


async def test_a_node_has_the_whole_copy_and_remembers_no_piece(tmp_path: Path) -> None:
    world = World()
    node = world.add(FakeNode(node_uuid(2), "node2.example.com"))
    agents = FakeAgents(world)
    sender = Sender(agents, FakeClock(), 1, lambda: 10.0)
    data = bytes(range(256)) * 3000
    copy = history(tmp_path, data)
    await sender.send(agents.address(node), copy)
    assert node.history == data
    assert len(agents.calls) == 4, "three pieces, and the last word"
    assert not agents.remembered
    copy.paths[0].write_bytes(data[:-1])
    with pytest.raises(OperationFailed, match="not what was sent"):
        await sender.send(agents.address(node), copy)
    assert node.history == data
    await agents.close()
