"""Transfers that strangers call, and such in which nothing moves any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid

from gantry.agent import ends, transfer_programs
from gantry.host import pipeline, process, signs_of_life
from gantry.host.daemon import Identity, identity
from gantry.model.backup_orders import (
    Compression,
    DumpFile,
    ExportBegin,
    Peer,
    TransferAbort,
    TransferClose,
    TransferOpen,
    TransferSend,
    Way,
    WholeDisk,
)
from gantry.model.identity import node_host
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate
from gantry.rpc.client import HttpAgents

NAME = "web1.example.com"
COMPRESS = {Way.BLOCKS: Compression.NONE, Way.STREAM: Compression.GZIP_FAST}


class Transfer:
    """One of a disk of ``node`` into an export there."""

    def __init__(self, node: AgentProcess, master: HttpAgents, way: Way) -> None:
        self.node, self.master, self.way = node, master, way
        self.peer = Peer(node=node.address.node, name=node.address.name, host=node.address.host)
        self.uuid, self.disk, self.count = new_uuid(), disk(size=4), 0
        self.port = 0

    async def do(self, order: Any) -> Any:
        self.count += 1
        key = envelope(f"j/{self.count}", timeout=60.0)
        return await self.master.order(self.node.address, key, order)

    async def open(self) -> None:
        await self.do(DiskCreate(disk=self.disk))
        path = self.node.root / self.disk.path.lstrip("/")
        path.write_bytes(b"content" + bytes((4 << 20) - 7))
        await self.do(ExportBegin(instance=NAME))
        order = TransferOpen(
            transfer=self.uuid,
            way=self.way,
            compress=COMPRESS[self.way],
            peer=self.peer,
            place=DumpFile(instance=NAME, name="dump0", size=4),
            lasts=60.0,
        )
        self.port = (await self.do(order)).port

    async def carry(self) -> bytes:
        """What has arrived, at the end."""
        send = TransferSend(
            transfer=self.uuid,
            way=self.way,
            compress=COMPRESS[self.way],
            peer=self.peer,
            port=self.port,
            place=WholeDisk(disk=self.disk),
        )
        await self.do(send)
        await self.do(TransferClose(transfer=self.uuid))
        export = self.node.root / f"var/lib/ganeti/export/.{NAME}.new"
        return (export / "dump0").read_bytes()

    def call(self) -> socket.socket:
        return socket.create_connection((self.peer.host, self.port))


@pytest.mark.parametrize("way", list(Way))
async def test_strangers_hold_nothing_up(
    way: Way, node: AgentProcess, master: HttpAgents, ca: TestAuthority, tmp_path: Path
) -> None:
    transfer = Transfer(node, master, way)
    await transfer.open()
    with contextlib.ExitStack() as strangers:
        for _ in range(3):
            strangers.enter_context(transfer.call())  # says nothing
        for _ in range(3):
            talker = strangers.enter_context(transfer.call())
            talker.sendall(b"GET / HTTP/1.0\r\n\r\n" * 100)
        # A node that was removed, and is there again under its name: this is the old one.
        old = ca.files("old", ca.authority.issue_node(new_uuid(), node.address.name, time.time()))
        other = ca.files("other", ca.authority.issue_master(time.time()))
        for mine in (old, other):
            assert await asyncio.to_thread(_let_in, transfer, mine, tmp_path) is False
        own = ca.files("own", ca.authority.issue_node(node.uuid, node.address.name, time.time()))
        if way is Way.BLOCKS:
            assert await asyncio.to_thread(_let_in, transfer, own, tmp_path) is True
        assert (await transfer.carry()).rstrip(b"\0") == b"content"
    # The end of the transfer is the end of its port.
    with pytest.raises(ConnectionRefusedError):
        transfer.call()


def _let_in(transfer: Transfer, mine: Any, directory: Path) -> bool:
    """Whether somebody with these certificates comes through."""
    if transfer.way is Way.BLOCKS:
        return _blocks_let_in(transfer, mine, directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_cert_chain(mine.certificate, mine.key)
    context.load_verify_locations(mine.ca)
    with transfer.call() as plain:
        plain.settimeout(20)
        try:
            with context.wrap_socket(plain) as talking:
                talking.sendall(f"{transfer.uuid}\nwhat nobody wants".encode())
                return talking.recv(1) != b""
        except OSError:
            return False


def _blocks_let_in(transfer: Transfer, mine: Any, directory: Path) -> bool:
    place = directory / f"tls-{mine.certificate.stem}"
    place.mkdir()
    (place / "ca-cert.pem").symlink_to(mine.ca)
    (place / "client-cert.pem").symlink_to(mine.certificate)
    (place / "client-key.pem").symlink_to(mine.key)
    host = node_host(transfer.node.configuration.cluster, transfer.peer.node)
    done = subprocess.run(
        [
            "qemu-img", "info", "--object",
            f"tls-creds-x509,id=tls,dir={place},endpoint=client,sanity-check=off", "--image-opts",
            f"driver=nbd,server.type=inet,server.host={transfer.peer.host},"
            f"server.port={transfer.port},export={transfer.uuid},tls-creds=tls,tls-hostname={host}",
        ],
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    return done.returncode == 0


@pytest.mark.parametrize("way", list(Way))
async def test_a_transfer_that_nobody_called_can_be_ended(
    way: Way, node: AgentProcess, master: HttpAgents
) -> None:
    transfer = Transfer(node, master, way)
    await transfer.open()
    with transfer.call():
        await transfer.do(TransferAbort(transfer=transfer.uuid))
    with pytest.raises(ConnectionRefusedError):
        transfer.call()


@pytest.fixture
def frozen(tmp_path: Path, ca: TestAuthority) -> Iterator[tuple[int, list[str]]]:
    """The pid of a server of blocks, and the program that sends it some slowly."""
    made = AgentProcess(tmp_path, ca)
    peer = Peer(node=made.uuid, name=made.address.name, host=made.address.host)
    tls = tmp_path / "tls"
    tls.mkdir()
    ends.tls(made.root, tls)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(32 << 20))
    target.touch()
    os.truncate(target, 32 << 20)
    name = Uuid(new_uuid())
    with socket.create_server((made.address.host, 0)) as listener:
        port = listener.getsockname()[1]
        argv = transfer_programs.block_server(peer, tls, name, str(target), "raw")
        environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": "1"}
        passed = {transfer_programs.INHERITED: listener.fileno()}
        said = str(tmp_path / "server")
        (tmp_path / "server").touch()
        server = process.start(argv, environment, None, said, said, passed=passed)
    client = transfer_programs.block_client(
        ca.cluster, peer, port, tls, name, transfer_programs.image_file(str(source), "raw")
    )
    client[2:2] = ["-r", "4M"]
    yield server.pid, client
    os.kill(server.pid, signal.SIGCONT)
    process.finish(server, timeout=0.0)


async def test_what_does_not_move_any_more_is_ended(
    frozen: tuple[int, list[str]], tmp_path: Path
) -> None:
    server, client = frozen
    copying: list[Identity] = []
    stage = pipeline.Stage(
        argv=tuple(client), errors=tmp_path / "said", environment={"PATH": os.environ["PATH"]}
    )
    run = pipeline.run([stage], timeout=60.0, started=lambda _, which: copying.append(which))

    def sign() -> int:
        return signs_of_life.turns(copying[0]) if copying else 0

    def freeze() -> None:
        until = time.monotonic() + 30
        while (tmp_path / "target").stat().st_blocks == 0 and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(server, signal.SIGSTOP)

    freezing = asyncio.create_task(asyncio.to_thread(freeze))
    with pytest.raises(ends.Silent, match="nothing has reached node node2 for 2 s"):
        await ends.moving(run, sign, seconds=2.0, peer="node2")
    await freezing
    assert sign() == 0, "the program has ended"


def test_a_program_that_waits_has_no_turns() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        which = identity(sleeping.pid)
        assert which is not None
        seen: list[int] = []
        while len(seen) < 2 or seen[-1] != seen[-2]:
            time.sleep(0.05)
            seen.append(signs_of_life.turns(which))
        assert seen[-1] > 0
        sleeping.kill()
    assert signs_of_life.turns(which) == 0
