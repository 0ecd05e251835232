"""What a master's program, or a fault in it, may send; and what an agent costs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from tests.contract.agents.requests import envelope, guest, hooks, start
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid

from gantry.model.errors import Rejected
from gantry.model.identity import node_host
from gantry.model.orders import Delay, FilesWrite, ReadFacts
from gantry.rpc import certificates
from gantry.rpc.client import HttpAgents


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/1/order", b"not json"),
        ("/1/order", b"{}"),
        ("/1/order", b'{"envelope":{},"order":{"order":"no-such-order"}}'),
        ("/1/ask", b'{"question":{"question":"facts"},"timeout":"soon"}'),
        ("/1/announce", b'{"epoch":"high"}'),
        ("/2/info", b""),
        ("/1/console/../../x", b""),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_in_words(
    node: AgentProcess, ca: TestAuthority, path: str, body: bytes
) -> None:
    files = ca.files("master", ca.authority.issue_master(time.time()))
    connector = aiohttp.TCPConnector(ssl=certificates.client_context(files))
    async with aiohttp.ClientSession(connector=connector) as session:
        response = await session.post(
            f"https://{node.address.host}:{node.address.port}{path}",
            data=body,
            server_hostname=node_host(ca.cluster, node.uuid),
        )
        assert response.status == 400
        answer = await response.json()
    assert answer["error"]["code"] == "rejected"
    assert "Traceback" not in node.log()


async def test_a_console_carries_bytes_both_ways(node: AgentProcess, master: HttpAgents) -> None:
    spec = guest()
    await master.order(node.address, envelope("j/1"), start(spec))
    console = await master.console(node.address, spec.uuid)
    seen = b""
    async with asyncio.timeout(100):
        await console.write(b"hello there\r")
        async for data in console.output():
            seen += data
            if b"hello there" in seen:
                break
    assert b"is up (fake)" in seen
    await console.close()


async def test_the_console_of_an_unknown_guest_is_refused(
    node: AgentProcess, master: HttpAgents
) -> None:
    with pytest.raises(Rejected, match="knows no guest") as caught:
        await master.console(node.address, new_uuid())
    assert caught.value.node == "node1"


async def test_hooks_are_told_root_job_run_and_attempt(
    node: AgentProcess, master: HttpAgents
) -> None:
    path = node.root / "etc/ganeti/hooks/instance-start-pre.d/env"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nenv\n")
    path.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "GANETI_DATA_DIR": "/var/lib/ganeti"}
    order = hooks(environments={"1": environment}, dry_run=True)
    ran = await master.order(node.address, envelope("j/pre"), order)
    lines = set(ran.results[0].output.splitlines())
    assert {
        f"GANTRY_ROOT={node.root}",
        "GANTRY_JOB=7",
        "GANTRY_RUN_ID=run",
        "GANTRY_ATTEMPT=1",
        "GANTRY_DRY_RUN=1",
        f"GANETI_DATA_DIR={node.root}/var/lib/ganeti",
    } <= lines


async def test_written_files_can_be_read_by_all_and_replace_links_instead_of_following_them(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    data = node.root / "var/lib/ganeti"
    data.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (data / "ssconf_master_node").symlink_to(outside)
    order = FilesWrite(files={"ssconf_master_node": "node1\n"})
    await master.order(node.address, envelope("j/1"), order)
    assert outside.read_text() == "precious"
    assert (data / "ssconf_master_node").read_text() == "node1\n"
    assert (data / "ssconf_master_node").stat().st_mode & 0o777 == 0o644


async def test_a_large_order_passes(node: AgentProcess, master: HttpAgents) -> None:
    order = FilesWrite(files={"ssconf_instance_list": "web1.example.com\n" * 150_000})
    await master.order(node.address, envelope("j/1"), order)


async def test_a_quick_order_is_one_answer_and_a_slow_one_a_stream(
    node: AgentProcess, master: HttpAgents
) -> None:
    said: list[str] = []
    await master.order(
        node.address, envelope("j/1"), Delay(duration=0.0), lambda line: said.append(line.text)
    )
    assert said == []
    await master.order(
        node.address, envelope("j/2"), Delay(duration=0.8), lambda line: said.append(line.text)
    )
    assert said == ["waiting 0.8 seconds on node1"]


async def test_an_agent_is_small_and_loads_no_cryptography(
    node: AgentProcess, master: HttpAgents
) -> None:
    await master.ask(node.address, ReadFacts(), 5.0)
    assert node.process is not None
    process = Path(f"/proc/{node.process.pid}")
    resident = next(
        int(line.split()[1])
        for line in (process / "status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert resident <= 45 * 1024, f"{resident} KiB"
    assert "cryptography" not in (process / "maps").read_text()


async def test_a_second_agent_with_the_same_root_does_not_start(
    node: AgentProcess, tmp_path: Path
) -> None:
    first = node.process
    node.process = None
    try:
        with pytest.raises(AssertionError, match="the agent ended"):
            await node.start()
    finally:
        await node.close()
        node.process = first
