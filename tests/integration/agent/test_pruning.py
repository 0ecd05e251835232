"""Whichever points are taken out of a chain, the others stay what they were, by real programs."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.agents.requests import envelope
from tests.fakes.export_files import exported
from tests.support.agent_process import AgentProcess

from gantry.agent import layers
from gantry.model import export_facts
from gantry.model.backup_orders import CONFIG, ExportBegin, ExportSettle, ReadExport, ReadExports
from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.export_facts import DumpFacts, Facts
from gantry.model.increment_orders import ExportPrune, ExportReplace
from gantry.model.orders import Order
from gantry.rpc.client import HttpAgents

NAME = "web1.example.com"
DIRECTORY = f"/var/lib/ganeti/export/{NAME}"
MIB = 1024 * 1024
SIZE = 2
DISKS = ("disk0", "disk1")


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def converted(image: list[str], out: Path) -> bytes:
    run("qemu-img", "convert", "-O", "raw", *image, str(out))
    return out.read_bytes()


class Chain:
    """An export on the node. ``content`` is what each disk was, by point."""

    def __init__(self, node: AgentProcess, master: HttpAgents) -> None:
        self.node = node
        self.master = master
        self.path = node.root / DIRECTORY.lstrip("/")
        self.path.mkdir(parents=True)
        self.content: dict[int, dict[str, bytes]] = {}
        self.facts: dict[int, Facts] = {}
        self.count = 0

    def add(self, full: bool, seed: int) -> None:
        """One point more, made as an export does."""
        chance = random.Random(seed)
        point = max(self.content, default=0) + 1
        last = self.content.get(point - 1, dict.fromkeys(DISKS, bytes(SIZE * MIB)))
        self.content[point] = {}
        dumps = []
        for disk in DISKS:
            now = bytearray(last[disk])
            changes = [
                (64 * 1024 * chance.randrange(SIZE * 16), chance.choice((0, point)))
                for _ in range(3)
            ]
            for at, value in changes:
                now[at : at + 65536] = bytes([value]) * 65536
            self.content[point][disk] = bytes(now)
            dumps.append(self._dump(disk, point, None if full else changes, bytes(now)))
        self.facts[point] = Facts(point=point, mark=f"mark{point}", dumps=tuple(dumps))
        config, facts = export_facts.names(point, 1)
        (self.path / config).write_text(exported("disk0")[CONFIG])
        (self.path / facts).write_text(export_facts.encode(self.facts[point]))

    def _dump(
        self, disk: str, point: int, changes: list[tuple[int, int]] | None, now: bytes
    ) -> DumpFacts:
        path = self.path / export_facts.dump_name(disk, point)
        below = ""
        if changes is None:
            path.write_bytes(now)
        else:
            [rests] = [one for one in self.facts[point - 1].dumps if one.name.startswith(disk)]
            below = rests.name
            kind = "qcow2" if rests.below else "raw"
            argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", kind, "-b", below]
            run(*argv, str(path), f"{SIZE}M")
            for at, value in changes:
                what = f"write -P {value} {at} 64k" if value else f"write -z {at} 64k"
                run("qemu-io", "-f", "qcow2", "-c", what, str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return DumpFacts(name=path.name, scripted=False, below=below, sha256=digest)

    async def order(self, *orders: Order[Any]) -> None:
        for order in orders:
            self.count += 1
            key = envelope(f"j/{self.count}", timeout=60.0)
            await self.master.order(self.node.address, key, order)

    async def remove(self, point: int) -> None:
        await self.order(
            ExportPrune(instance=NAME, point=point),
            ExportReplace(instance=NAME, point=point),
            ExportSettle(instance=NAME),
        )
        del self.content[point]

    async def check(self, tmp_path: Path) -> None:
        """All points are what they were, and no other file is there."""
        there = {CONFIG, export_facts.FACTS}
        for point, content in self.content.items():
            question = ReadExport(directory=DIRECTORY, point=point)
            found = await self.master.ask(self.node.address, question, 30.0)
            assert list(found.points) == sorted(self.content)
            facts = export_facts.decode(found.facts)
            assert facts.mark == f"mark{point}"
            for dump, disk in zip(facts.dumps, DISKS, strict=True):
                names = [dump.name, *export_facts.layers(dump.name, found.dumps)]
                paths = [self.path / name for name in names]
                for path, below in zip(paths, names[1:], strict=False):
                    layers.check(path, below)
                assert hashlib.sha256(paths[0].read_bytes()).hexdigest() == dump.sha256
                # As we read it, and as qemu-img by hand does by what is written in the files.
                for image in (["--image-opts", layers.image(paths)], [str(paths[0])]):
                    assert converted(image, tmp_path / "out") == content[disk]
                there |= {*names, *export_facts.names(point, min(self.content))}
        assert {path.name for path in self.path.iterdir()} == there
        assert [path.name for path in self.path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("seed", range(3))
async def test_the_others_stay_what_they_were(
    node: AgentProcess, master: HttpAgents, tmp_path: Path, seed: int
) -> None:
    chain = Chain(node, master)
    chance = random.Random(seed)
    for number in range(5):
        chain.add(full=number == 0 or chance.random() < 0.2, seed=100 * seed + number)
    await chain.check(tmp_path)
    while len(chain.content) > 1:
        await chain.remove(chance.choice(sorted(chain.content)))
        await chain.check(tmp_path)


async def test_what_is_damaged_is_not_merged(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    chain = Chain(node, master)
    for number in range(4):
        chain.add(full=number == 0, seed=number)
    with (chain.path / "disk0.2").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    for point in (1, 2):
        with pytest.raises(OperationFailed, match=r"disk0\.2 is not what was written"):
            await chain.order(ExportPrune(instance=NAME, point=point))
    found = await master.ask(node.address, ReadExports(), 30.0)
    assert [point.number for point in found.exports[0].points] == [1, 2, 3, 4]
    assert [path.name for path in chain.path.parent.iterdir()] == [NAME]


async def test_what_rests_on_a_dump_without_a_checksum_gets_none_when_it_is_merged(
    node: AgentProcess, master: HttpAgents
) -> None:
    """Nobody knows whether it is what was written: no later checksum may say so."""
    chain = Chain(node, master)
    for number in range(3):
        chain.add(full=number == 0, seed=number)
    unsure = msgspec.structs.replace(chain.facts[1].dumps[0], sha256="")
    facts = msgspec.structs.replace(chain.facts[1], dumps=(unsure, chain.facts[1].dumps[1]))
    (chain.path / export_facts.FACTS).write_text(export_facts.encode(facts))
    await chain.remove(1)
    found = await master.ask(node.address, ReadExport(directory=DIRECTORY, point=2), 30.0)
    assert [bool(dump.sha256) for dump in export_facts.decode(found.facts).dumps] == [False, True]


async def test_a_chain_that_was_set_aside_is_back_before_anything_is_exported(
    node: AgentProcess, master: HttpAgents
) -> None:
    """As an agent leaves it that dies while the new directory takes the old one's place."""
    chain = Chain(node, master)
    for number in range(3):
        chain.add(full=number == 0, seed=number)
    chain.path.rename(chain.path.with_name(f".{NAME}.old"))
    chain.path.with_name(f".{NAME}.new").mkdir()
    await chain.order(ExportBegin(instance=NAME))
    found = await master.ask(node.address, ReadExports(), 30.0)
    assert [point.number for point in found.exports[0].points] == [1, 2, 3]


async def test_a_file_that_names_another_is_not_followed(
    node: AgentProcess, master: HttpAgents
) -> None:
    chain = Chain(node, master)
    for number in range(3):
        chain.add(full=number == 0, seed=number)
    bad = chain.path / "disk0.2"
    point = chain.facts[2]
    dumps = tuple(DumpFacts(name=one.name, scripted=False, below=one.below) for one in point.dumps)
    (chain.path / "2.gantry.json").write_text(export_facts.encode(Facts(point=2, dumps=dumps)))
    for named in ("/etc/shadow", "json:{}", "../../../x", ""):
        bad.unlink()
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u"]
        argv += ["-F", "raw", "-b", named] if named else []
        run(*argv, str(bad), f"{SIZE}M")
        with pytest.raises(Rejected, match="not what changed since disk0"):
            await chain.order(ExportPrune(instance=NAME, point=1))
        with pytest.raises(GantryError):
            layers.check(bad, "disk0")


def test_an_external_data_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}"]
    run(*argv, str(path), "1M")
    with pytest.raises(Rejected):
        layers.check(path, "")


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"QFI\xfb" + b"\xff" * 200, bytes(4096)])
def test_rubbish_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(Rejected):
        layers.check(path, "dump0")
