"""A real agent process, and its master's end of the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.agent_process import AgentProcess, TestAuthority

from gantry.rpc.client import HttpAgents


@pytest.fixture
def ca(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@pytest.fixture
async def node(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[AgentProcess]:
    made = AgentProcess(tmp_path, ca)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def master(ca: TestAuthority) -> AsyncIterator[HttpAgents]:
    made = ca.master()
    yield made
    await made.close()
