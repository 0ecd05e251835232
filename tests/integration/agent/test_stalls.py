"""A script that neither reads nor writes any more does not hold its transfer for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope, os_run
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid
from tests.support.cluster import eventually, processes_below

from gantry.model.backup_orders import (
    Compression,
    DumpFile,
    ExportBegin,
    Peer,
    Place,
    ScriptedDisk,
    TransferAbort,
    TransferOpen,
    TransferSend,
    Way,
)
from gantry.model.errors import GantryError
from gantry.model.orders import DiskCreate
from gantry.rpc.client import HttpAgents

NAME = "web1.example.com"
STILL = 2.0


@pytest.fixture
async def node(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[AgentProcess]:
    """Its agent waits seconds where others wait hours; the scripts of its OS hang."""
    made = AgentProcess(tmp_path, ca)
    made.timeouts = {"TRANSFER_SCRIPT_STILL": STILL, "KILL_GRACE": 1.0}
    place = made.root / "srv/ganeti/os/hangs"
    place.mkdir(parents=True)
    for script in ("create", "import", "export", "rename"):
        (place / script).write_text(f'#!/bin/sh\necho "$$" > "{tmp_path}/pid"\nexec sleep 1000\n')
        (place / script).chmod(0o755)
    (place / "ganeti_api_version").write_text("15\n")
    await made.start()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("hanging", "compress"), [("export", Compression.NONE), ("import", Compression.ZSTD)]
)
async def test_a_script_that_hangs_ends_its_transfer(
    node: AgentProcess, master: HttpAgents, tmp_path: Path, hanging: str, compress: Compression
) -> None:
    peer = Peer(node=node.uuid, name=node.address.name, host=node.address.host)
    one, transfer = disk(size=4), new_uuid()
    await master.order(node.address, envelope("j/disk"), DiskCreate(disk=one))
    await master.order(node.address, envelope("j/begin"), ExportBegin(instance=NAME))
    scripted = ScriptedDisk(run=os_run("hangs", one), index=0)
    dump = DumpFile(instance=NAME, name="dump0", size=4)
    source, target = (scripted, dump) if hanging == "export" else (_written(node, dump), scripted)
    opened = TransferOpen(
        transfer=transfer, way=Way.STREAM, compress=compress, peer=peer, place=target, lasts=60.0
    )
    port = (await master.order(node.address, envelope("j/open"), opened)).port
    send = TransferSend(
        transfer=transfer, way=Way.STREAM, compress=compress, peer=peer, port=port, place=source
    )
    sent = envelope("j/send", timeout=60.0, lease=60.0)
    with pytest.raises(GantryError, match=f"nothing has reached node node1 for {STILL:g} s"):
        await master.order(node.address, sent, send)
    ended = envelope("j/abort", timeout=60.0, lease=60.0)
    await master.order(node.address, ended, TransferAbort(transfer=transfer))
    script = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{script}").exists()
    await asyncio.to_thread(eventually, "no program stays", lambda: not _programs(node), 20.0)
    assert list(node.root.glob("run/gantry/transfers/*")) == []


def _written(node: AgentProcess, dump: DumpFile) -> Place:
    """A finished export with this dump, which is more than pipes and sockets hold together."""
    directory = node.root / dump.directory.lstrip("/") / NAME
    directory.mkdir()
    (directory / dump.name).write_bytes(os.urandom(32 << 20))
    return msgspec.structs.replace(dump, size=32)


def _programs(node: AgentProcess) -> list[str]:
    """But the agent itself."""
    return [line for line in processes_below(node.root) if " agent " not in line]
