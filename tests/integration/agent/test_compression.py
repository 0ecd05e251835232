"""Disks that are exported and imported, packed on the way by each program that there is."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from tests.contract.agents.requests import disk, envelope
from tests.fakes.export_files import exported
from tests.support.agent_process import AgentProcess, new_uuid

from gantry.agent import transfer_programs
from gantry.model.backup_orders import (
    CONFIG,
    FACTS,
    Compression,
    DumpFile,
    ExportBegin,
    ExportFinish,
    Moved,
    Peer,
    Place,
    TransferClose,
    TransferOpen,
    TransferSend,
    Way,
    WholeDisk,
)
from gantry.model.orders import DiskCreate, DiskSpec
from gantry.rpc.client import HttpAgents

NAME: Final = "web1.example.com"
MIB: Final = 1024 * 1024
SIZE: Final = 16
"""Of the disk, in MiB."""
MAGIC: Final = {
    Compression.GZIP: b"\x1f\x8b",
    Compression.GZIP_FAST: b"\x1f\x8b",
    Compression.GZIP_SLOW: b"\x1f\x8b",
    Compression.LZOP: b"\x89LZO\0\r\n\x1a\n",
    Compression.ZSTD: b"\x28\xb5\x2f\xfd",
}
"""With which what each of them has packed begins."""


class Node:
    """Both ends of each transfer."""

    def __init__(self, process: AgentProcess, master: HttpAgents) -> None:
        self._process, self._master, self._count = process, master, 0
        address = process.address
        self._peer = Peer(node=address.node, name=address.name, host=address.host)

    async def do(self, order: Any) -> Any:
        self._count += 1
        key = envelope(f"j/{self._count}", timeout=60.0)
        return await self._master.order(self._process.address, key, order)

    async def move(
        self, source: Place, target: Place, compress: Compression
    ) -> tuple[Moved, Moved]:
        """What the sending and the receiving end counted."""
        transfer = new_uuid()
        way = Way.BLOCKS if compress is Compression.NONE else Way.STREAM
        ends: dict[str, Any] = {
            "transfer": transfer,
            "way": way,
            "compress": compress,
            "peer": self._peer,
        }
        listening = await self.do(TransferOpen(**ends, place=target, lasts=60.0))
        sent = await self.do(TransferSend(**ends, place=source, port=listening.port))
        return sent, await self.do(TransferClose(transfer=transfer))

    def file(self, path: str) -> Path:
        return self._process.root / path.lstrip("/")


async def test_a_disk_comes_back_whatever_packed_it(node: AgentProcess, master: HttpAgents) -> None:
    """None of them changes a byte, and holes are holes again."""
    both, source = Node(node, master), disk(size=SIZE)
    await both.do(DiskCreate(disk=source))
    content = random.Random(7).randbytes(MIB // 2) + b"text " * (MIB // 10)
    content = content.ljust(12 * MIB, b"\0") + content[: MIB // 4]
    content = content.ljust(SIZE * MIB, b"\0")
    both.file(source.path).write_bytes(content)
    await both.do(ExportBegin(instance=NAME))
    for compress in Compression:
        landing = DumpFile(instance=NAME, name=f"dump-{compress}", size=SIZE)
        await _moved(both, WholeDisk(disk=source), landing, compress)
    files = exported("dump-none", os="")
    await both.do(ExportFinish(instance=NAME, config=files[CONFIG], facts=files[FACTS]))
    for compress in Compression:
        dump = DumpFile(instance=NAME, name=f"dump-{compress}", size=SIZE)
        assert both.file(f"{dump.directory}/{NAME}/{dump.name}").read_bytes() == content, compress
        target = await _new_disk(both, compress)
        await _moved(both, dump, WholeDisk(disk=target), compress)
        found = both.file(target.path)
        assert found.read_bytes() == content, compress
        assert found.stat().st_blocks * 512 < 6 * MIB, compress


async def _moved(both: Node, source: Place, target: Place, compress: Compression) -> None:
    sent, kept = await both.move(source, target, compress)
    if compress is not Compression.NONE:
        # Before it was packed, and after it was unpacked.
        assert (sent.size, kept.size) == (SIZE * MIB, SIZE * MIB), compress


async def _new_disk(both: Node, name: str) -> DiskSpec:
    made = disk(f"/srv/ganeti/file-storage/new/{name}", size=SIZE)
    await both.do(DiskCreate(disk=made))
    return made


@pytest.mark.parametrize("compress", MAGIC)
def test_the_real_program_packs(compress: Compression) -> None:
    """And not another one: the other end might be of another version, or Ganeti's."""
    count, pack = transfer_programs.packing(compress, transfer_programs.copy())
    environment = {"PATH": "/usr/bin:/bin", transfer_programs.NAME: "its name"}
    done = subprocess.run(pack, input=b"x" * MIB, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    name, _, packed = done.stdout.partition(b"\n")
    assert name == b"its name"
    assert packed.startswith(MAGIC[compress])
    assert len(packed) < MIB // 20
    assert count[0] == "dd"
