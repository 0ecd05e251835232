"""Exports on a node, and a disk that is moved into one and out of it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.contract.agents.harness import FakeHarness, Harness
from tests.contract.agents.requests import disk, envelope
from tests.fakes.export_files import exported
from tests.support.agent_process import new_uuid

from gantry.model.backup_orders import (
    CONFIG,
    Compression,
    DumpFile,
    ExportBegin,
    ExportDiscard,
    ExportFinish,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    Peer,
    ReadExport,
    ReadExports,
    ReadPrograms,
    TransferAbort,
    TransferClose,
    TransferOpen,
    TransferSend,
    Way,
    WholeDisk,
    config_digest,
)
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate, Order

NAME = "web1.example.com"
DIRECTORY = f"/var/lib/ganeti/export/{NAME}"


class Exports:
    """Orders under keys of their own."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.count = 0

    async def do(self, *orders: Order[Any]) -> Any:
        answer: Any = None
        for order in orders:
            self.count += 1
            key = envelope(f"j/{self.count}", timeout=60.0)
            answer = await self.harness.agents.order(self.harness.address, key, order)
        return answer

    async def names(self) -> list[str]:
        found = await self.harness.agents.ask(self.harness.address, ReadExports(), 30.0)
        return [one.name for one in found.exports]

    async def config(self) -> str:
        question = ReadExport(directory=DIRECTORY)
        return (await self.harness.agents.ask(self.harness.address, question, 30.0)).config

    def finish(self, config: str) -> ExportFinish:
        return ExportFinish(instance=NAME, config=config, facts="{}")


@pytest.fixture
def exports(harness: Harness) -> Exports:
    return Exports(harness)


async def test_an_export_counts_once_it_is_finished(exports: Exports) -> None:
    await exports.do(ExportBegin(instance=NAME))
    assert await exports.names() == []
    await exports.do(exports.finish("one"), exports.finish("one"))
    assert await exports.names() == [NAME]
    assert await exports.config() == "one"
    await exports.do(ExportSettle(instance=NAME), ExportRemove(instance=NAME))
    await exports.do(ExportRemove(instance=NAME))
    assert await exports.names() == []
    with pytest.raises(Rejected):
        await exports.config()


async def test_the_old_one_comes_back_where_the_new_one_is_not_to_be(exports: Exports) -> None:
    await exports.do(ExportBegin(instance=NAME), exports.finish("old"), ExportSettle(instance=NAME))
    await exports.do(ExportBegin(instance=NAME), ExportDiscard(instance=NAME))
    assert await exports.config() == "old"
    await exports.do(ExportBegin(instance=NAME), exports.finish("new"))
    assert await exports.config() == "new"
    # An undo that is repeated, since nobody knows whether it was done, takes the old one not away.
    for _ in range(2):
        await exports.do(ExportRevert(instance=NAME, digest=config_digest("new")))
        assert await exports.config() == "old"
    await exports.do(ExportDiscard(instance=NAME))
    assert await exports.config() == "old"


async def test_an_old_export_is_not_taken_for_the_new_one_that_is_gone(exports: Exports) -> None:
    await exports.do(ExportBegin(instance=NAME), exports.finish("old"), ExportSettle(instance=NAME))
    await exports.do(ExportBegin(instance=NAME), ExportDiscard(instance=NAME))
    with pytest.raises(OperationFailed, match="not there any more"):
        await exports.do(exports.finish("new"))
    assert await exports.config() == "old"


async def test_an_export_that_was_made_since_is_not_removed(exports: Exports) -> None:
    config = exported("dump0")[CONFIG].replace("timestamp = 1", "timestamp = 1000")
    await exports.do(ExportBegin(instance=NAME), exports.finish(config))
    await exports.do(ExportRemove(instance=NAME, before=999.9))
    assert await exports.names() == [NAME]
    await exports.do(ExportRemove(instance=NAME, before=1000.2))
    assert await exports.names() == []
    await exports.do(ExportBegin(instance=NAME), exports.finish("not understood"))
    await exports.do(ExportRemove(instance=NAME, before=1.0))
    assert await exports.names() == []


async def test_what_was_never_begun_may_be_discarded(exports: Exports) -> None:
    await exports.do(ExportDiscard(instance=NAME), ExportRevert(instance=NAME, digest=""))
    assert await exports.names() == []


@pytest.mark.parametrize("name", ["../etc", "a/b", ".", ""])
async def test_names_that_lead_elsewhere_are_refused(exports: Exports, name: str) -> None:
    for order in (ExportBegin(instance=name), ExportRemove(instance=name)):
        with pytest.raises(Rejected):
            await exports.do(order)


async def test_a_transfer_that_is_not_there_is_said_and_may_be_aborted(exports: Exports) -> None:
    await exports.do(TransferAbort(transfer=new_uuid()))
    with pytest.raises(OperationFailed, match="does not receive this any more"):
        await exports.do(TransferClose(transfer=new_uuid()))


@pytest.mark.parametrize("compress", [Compression.NONE, Compression.GZIP_FAST])
async def test_a_disk_goes_into_an_export(exports: Exports, compress: Compression) -> None:
    address = exports.harness.address
    peer = Peer(node=address.node, name=address.name, host=address.host)
    way = Way.BLOCKS if compress is Compression.NONE else Way.STREAM
    one, transfer = disk(), new_uuid()
    missing = await exports.harness.agents.ask(address, ReadPrograms(compress=compress), 30.0)
    assert missing.programs == ()
    await exports.do(DiskCreate(disk=one), ExportBegin(instance=NAME))
    listening = await exports.do(
        TransferOpen(
            transfer=transfer,
            way=way,
            compress=compress,
            peer=peer,
            place=DumpFile(instance=NAME, name="dump0", size=one.size),
            lasts=60.0,
        )
    )
    await exports.do(
        TransferSend(
            transfer=transfer,
            way=way,
            compress=compress,
            peer=peer,
            port=listening.port,
            place=WholeDisk(disk=one),
        ),
        TransferClose(transfer=transfer),
        exports.finish("whole"),
    )
    question = ReadExport(directory=DIRECTORY)
    found = await exports.harness.agents.ask(address, question, 30.0)
    assert {"dump0", CONFIG} <= found.files.keys()


async def test_nobody_but_the_peer_is_let_in(exports: Exports) -> None:
    """The caller has a certificate of the cluster, and is not the node that was named."""
    address = exports.harness.address
    me = Peer(node=address.node, name=address.name, host=address.host)
    other = Peer(node=Uuid(new_uuid()), name="node9.example.com", host=address.host)
    if isinstance(exports.harness, FakeHarness):
        return  # nothing is moved between fakes
    # In TLS 1.3 who sends little may have ended before it hears that it was refused, and the other
    # end would wait for its peer. This is more than fits into pipes and sockets.
    one = disk(size=64)
    await exports.do(DiskCreate(disk=one), ExportBegin(instance=NAME))
    for way in Way:
        transfer = new_uuid()
        listening = await exports.do(
            TransferOpen(
                transfer=transfer,
                way=way,
                compress=Compression.NONE,
                peer=other,
                place=DumpFile(instance=NAME, name=f"dump-{way}", size=one.size),
                lasts=60.0,
            )
        )
        send = TransferSend(
            transfer=transfer,
            way=way,
            compress=Compression.NONE,
            peer=me,
            port=listening.port,
            place=WholeDisk(disk=one),
        )
        with pytest.raises(OperationFailed):
            await exports.do(send)
        await exports.do(TransferAbort(transfer=transfer))


@pytest.mark.parametrize("way", list(Way))
async def test_a_transfer_that_cannot_be_received_says_why(exports: Exports, way: Way) -> None:
    address = exports.harness.address
    with pytest.raises(OperationFailed, match="was not begun"):
        await exports.do(
            TransferOpen(
                transfer=new_uuid(),
                way=way,
                compress=Compression.NONE,
                peer=Peer(node=address.node, name=address.name, host=address.host),
                place=DumpFile(instance=NAME, name="dump0", size=1),
                lasts=60.0,
            )
        )


async def test_what_the_system_refuses_to_a_transfer_is_said(exports: Exports) -> None:
    """A file that is there already stands for all of it: no room, an address that is gone."""
    if isinstance(exports.harness, FakeHarness):
        return  # nothing is moved between fakes
    address = exports.harness.address
    await exports.do(ExportBegin(instance=NAME))
    first, second = new_uuid(), new_uuid()

    def opening(transfer: str) -> TransferOpen:
        return TransferOpen(
            transfer=Uuid(transfer),
            way=Way.BLOCKS,
            compress=Compression.NONE,
            peer=Peer(node=address.node, name=address.name, host=address.host),
            place=DumpFile(instance=NAME, name="dump0", size=1),
            lasts=60.0,
        )

    await exports.do(opening(first))
    with pytest.raises(OperationFailed, match="dump0: File exists") as caught:
        await exports.do(opening(second))
    assert caught.value.node == address.name
    await exports.do(TransferAbort(transfer=first))
