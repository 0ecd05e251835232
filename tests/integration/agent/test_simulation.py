"""Several agents in one process: each with its own identity, memory, log and address.

That each does what an agent does is held by the contract suite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.agents.requests import envelope, guest, hooks, start
from tests.support.agent_process import AgentProcess, SimulatedProcess, TestAuthority

from gantry.agent import configuration
from gantry.main.simulation import LOG
from gantry.model.errors import Unavailable
from gantry.model.live import GuestState
from gantry.model.orders import ReadFacts, ReadGuests, ScriptStatus
from gantry.ports.agents import Address
from gantry.rpc.client import HttpAgents


@pytest.fixture
async def process(ca: TestAuthority, tmp_path: Path) -> AsyncIterator[SimulatedProcess]:
    made = SimulatedProcess(tmp_path, ca)
    await made.start()
    yield made
    await made.close()


def _nodes(process: SimulatedProcess) -> list[AgentProcess]:
    return [process, *process.others]


async def test_each_speaks_of_its_own_root(process: SimulatedProcess, master: HttpAgents) -> None:
    for node in _nodes(process):
        facts = await master.ask(node.address, ReadFacts(), 5.0)
        assert facts.root == str(node.root)
        assert (node.root / configuration.DATABASE).exists()


async def test_each_has_the_certificate_of_its_own_node(
    process: SimulatedProcess, master: HttpAgents
) -> None:
    other = process.others[0].address
    crossed = Address(process.address.node, "node1", other.host, other.port)
    with pytest.raises(Unavailable):
        await master.ask(crossed, ReadFacts(), 5.0)


async def test_each_writes_its_own_log(process: SimulatedProcess, master: HttpAgents) -> None:
    for epoch, node in enumerate(_nodes(process), 100):
        await master.announce(node.address, epoch)
    for epoch, node in enumerate(_nodes(process), 100):
        said = node.log()
        assert f"new epoch={epoch}" in said
        assert f"ready node={node.configuration.name} " in said
        assert f"new epoch={epoch + 1}" not in said
    own = (process.directory / "simulation1" / LOG).read_text()
    assert "ready agents=3" in own
    assert "epoch" not in own


async def test_scripts_run_on_their_node_and_what_is_said_of_them_is_logged_there(
    process: SimulatedProcess, master: HttpAgents
) -> None:
    for node in _nodes(process):
        directory = node.root / "etc/ganeti/hooks/instance-start-pre.d"
        directory.mkdir(parents=True)
        (directory / "10-root").write_text('#!/bin/sh\necho "$GANTRY_ROOT"\n')
        (directory / "10-root").chmod(0o755)
    for node in _nodes(process):
        ran = await master.order(node.address, envelope("j/hooks"), hooks())
        assert [(one.status, one.output) for one in ran.results] == [
            (ScriptStatus.SUCCEEDED, f"{node.root}\n")
        ]


async def test_guests_are_there_again_after_the_process_was_killed(
    process: SimulatedProcess, master: HttpAgents
) -> None:
    specs = [guest(f"web{number}.example.com") for number in range(3)]
    for node, spec in zip(_nodes(process), specs, strict=True):
        await master.order(node.address, envelope("j/start"), start(spec))
    await process.kill()
    with pytest.raises(Unavailable):
        await master.ask(process.address, ReadGuests(), 5.0)
    await process.start()
    for node, spec in zip(_nodes(process), specs, strict=True):
        found = await master.ask(node.address, ReadGuests(), 5.0)
        assert [(one.uuid, one.state) for one in found.guests] == [(spec.uuid, GuestState.RUNNING)]


async def test_one_that_cannot_serve_is_told_and_the_process_ends(
    ca: TestAuthority, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = SimulatedProcess(tmp_path, ca)
    (process.others[1].root / configuration.FILE).unlink()
    with pytest.raises(AssertionError, match="the agent ended"):
        await process.start()
    assert process.process is not None
    assert process.process.wait(100) == 1
    said = capfd.readouterr().err
    assert "this machine has not joined a cluster" in said
    assert "Traceback" not in said
