"""While an OS script works on an instance's disks, or left them in use, nobody else does."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope, guest, os_run, start
from tests.support.agent_process import AgentProcess, new_uuid
from tests.support.cluster import eventually

from gantry.model.backup_orders import Compression, Peer, ScriptedDisk, TransferSend, Way
from gantry.model.errors import Rejected
from gantry.model.orders import DiskCreate, DiskRemove, OsCreate, OsRename
from gantry.rpc.client import HttpAgents


def definition(node: AgentProcess, body: str) -> None:
    place = node.root / "srv/ganeti/os/slow"
    place.mkdir(parents=True)
    for script in ("create", "import", "export", "rename", "verify"):
        (place / script).write_text(f"#!/bin/sh\n{body}\n")
        (place / script).chmod(0o755)
    (place / "ganeti_api_version").write_text("20\n")
    (place / "parameters.list").write_text("")


async def test_no_guest_starts_and_no_other_script_runs_while_one_does(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    for fifo in (began, go):
        os.mkfifo(fifo)
    definition(node, f"echo > {began}; cat {go}")
    one = disk()
    run = os_run("slow", one)
    spec = msgspec.structs.replace(guest(run.name), uuid=run.uuid, disks=(one,))
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    creating = asyncio.create_task(_order(master, node, "j/create", OsCreate(run=run)))
    await asyncio.to_thread(began.read_text)
    with pytest.raises(Rejected, match="create script of web1"):
        await master.order(node.address, envelope("k/start"), start(spec))
    with pytest.raises(Rejected, match="still runs"):
        rename = OsRename(run=run, old_name="old.example.com")
        await master.order(node.address, envelope("l/rename"), rename)
    # Those of other instances do not wait.
    await master.order(node.address, envelope("m/start"), start(guest("web2.example.com")))
    await asyncio.to_thread(go.write_text, "go\n")
    await creating
    await master.order(node.address, envelope("n/start"), start(spec))


async def test_no_script_works_on_the_disks_of_a_guest_that_runs(
    node: AgentProcess, master: HttpAgents
) -> None:
    """Whatever the master takes it for."""
    definition(node, "exit 0")
    one = disk()
    run = os_run("slow", one)
    spec = msgspec.structs.replace(guest(run.name), uuid=run.uuid, disks=(one,))
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    await master.order(node.address, envelope("k/start"), start(spec))
    me = Peer(node=node.address.node, name=node.address.name, host=node.address.host)
    sending = TransferSend(
        transfer=new_uuid(),
        way=Way.STREAM,
        compress=Compression.NONE,
        peer=me,
        port=1,
        place=ScriptedDisk(run=run, index=0),
    )
    rename = OsRename(run=run, old_name="old.example.com")
    orders: list[Any] = [OsCreate(run=run), rename, sending]
    for number, order in enumerate(orders):
        with pytest.raises(Rejected, match=f"the guest of {run.name} runs on node") as caught:
            await master.order(node.address, envelope(f"l/{number}"), order)
        assert "gnt-instance stop" in caught.value.hint


async def _order(master: HttpAgents, node: AgentProcess, key: str, order: OsCreate) -> None:
    await master.order(node.address, envelope(key, timeout=60.0), order)


@pytest.mark.root
async def test_a_disk_that_is_still_attached_is_in_use_until_it_is_removed(
    node: AgentProcess, master: HttpAgents
) -> None:
    definition(node, "exit 0")
    one = disk()
    run = os_run("slow", one)
    spec = msgspec.structs.replace(guest(run.name), uuid=run.uuid, disks=(one,))
    path = node.root / one.path.lstrip("/")
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    attach = ["losetup", "--find", str(path)]
    await asyncio.to_thread(lambda: subprocess.run(attach, check=True))
    try:
        with pytest.raises(Rejected, match=f"{path} is /dev/loop") as caught:
            await master.order(node.address, envelope("k/start"), start(spec))
        assert "losetup -d" in caught.value.hint
        with pytest.raises(Rejected, match="in use on node"):
            await master.order(node.address, envelope("l/create"), OsCreate(run=run))
    finally:
        await master.order(node.address, envelope("m/remove"), DiskRemove(disk=one))
    assert not path.exists()

    def listed() -> str:
        return subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout

    await asyncio.to_thread(eventually, "detached", lambda: str(path) not in listed())


async def test_what_an_agent_left_half_done_goes_when_it_starts(
    node: AgentProcess, master: HttpAgents
) -> None:
    one = disk()
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    place = (node.root / one.path.lstrip("/")).parent
    half = [place / f".{one.uuid}.file.disk0.{kind}" for kind in ("raw", "new")]
    stays = [
        place / f".{one.uuid}.file.disk0.snapshot",
        place / ".somebody-else-s.raw",
        place / f"{one.uuid}.file.disk0.raw",
    ]
    for path in (*half, *stays):
        path.write_bytes(b"half")
    await node.kill()
    await node.start()
    assert not any(path.exists() for path in half)
    assert all(path.exists() for path in stays)
    assert "left half done" in node.log()
