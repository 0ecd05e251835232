"""What every agent does with replicas of mirrored disks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import envelope, guest, start, stop
from tests.support.agent_process import new_uuid

from gantry.model.backup_orders import Peer
from gantry.model.entities import DiskTemplate, ReplicaState
from gantry.model.errors import Rejected
from gantry.model.live import GuestLive, MirrorPhase
from gantry.model.orders import (
    DiskConvert,
    DiskCreate,
    DiskMove,
    DiskPlug,
    DiskRemove,
    DiskSpec,
    DiskUnplug,
    ReadGuests,
)
from gantry.model.replica_orders import (
    DisksActivate,
    DisksDeactivate,
    MirrorAttach,
    MirrorRelease,
    ReadReplicas,
    ReplicaClose,
    ReplicaForgo,
    ReplicaMark,
    ReplicaPrepare,
    ReplicaPrepared,
    ReplicaSeen,
    ReplicaServe,
    ReplicaServed,
)
from gantry.model.specs import MirrorTarget
from gantry.ports.agents import GuestChanged

HOST = "127.0.0.1"


def replica(**changes: Any) -> DiskSpec:
    given: dict[str, Any] = {
        "uuid": new_uuid(),
        "index": 0,
        "size": 1,
        "path": "/srv/ganeti/file-storage/web1/disk0",
        "template": DiskTemplate.MIRROR,
        "generation": 1,
        **changes,
    }
    return DiskSpec(**given)


def peer(name: str = "node2") -> Peer:
    return Peer(node=new_uuid(), name=name, host=HOST)


def target() -> MirrorTarget:
    return MirrorTarget(node=new_uuid(), name="node2", host=HOST, port=4000)


class Node:
    """The node, with every order under a key of its own."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.count = 0
        self.served: dict[str, DiskSpec] = {}

    async def do(self, order: Any) -> Any:
        self.count += 1
        if isinstance(order, ReplicaServe):
            self.served[order.disk.path] = order.disk
        given = envelope(f"j/{self.count}", timeout=60.0, lease=60.0)
        return await self.harness.agents.order(self.harness.address, given, order)

    async def seen(self, disk: DiskSpec) -> ReplicaSeen:
        asked = ReadReplicas(disks=(disk,))
        (found,) = (await self.harness.agents.ask(self.harness.address, asked, 20.0)).replicas
        return found

    async def guest(self, live: GuestLive) -> GuestLive:
        found = await self.harness.agents.ask(self.harness.address, ReadGuests(), 20.0)
        return next(one for one in found.guests if one.uuid == live.uuid)


@pytest.fixture
async def node(harness: Harness) -> AsyncIterator[Node]:
    node = Node(harness)
    yield node
    for disk in node.served.values():  # a daemon outlives its agent
        await node.do(ReplicaClose(disk=disk))


async def test_a_new_replica_is_in_sync_and_clean_and_leaves_nothing(node: Node) -> None:
    disk = replica()
    assert await node.seen(disk) == ReplicaSeen(disk=disk.uuid, there=False)

    await node.do(DiskCreate(disk=disk))
    await node.do(DiskCreate(disk=disk))

    assert await node.seen(disk) == ReplicaSeen(
        disk=disk.uuid, there=True, generation=1, state=ReplicaState.IN_SYNC, clean=True
    )
    await node.do(DiskRemove(disk=disk))
    assert await node.seen(disk) == ReplicaSeen(disk=disk.uuid, there=False)


async def test_its_record_moves_along(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    path = "/srv/ganeti/file-storage/web2/disk0"

    await node.do(DiskMove(disk=disk, path=path))
    await node.do(DiskMove(disk=disk, path=path))

    assert (await node.seen(msgspec.structs.replace(disk, path=path))).problem == ""
    assert not (await node.seen(disk)).there


async def test_a_replica_is_served_to_one_node_until_it_is_closed(node: Node) -> None:
    disk, caller = replica(), peer()
    await node.do(DiskCreate(disk=disk))
    order = ReplicaServe(disk=disk, peer=caller, host=HOST)

    served: ReplicaServed = await node.do(order)
    assert served.port > 0
    assert (await node.do(order)) == served
    seen = await node.seen(disk)
    assert (seen.serving, seen.clean) == (caller.node, False)
    with pytest.raises(Rejected, match="served to node2"):
        await node.do(msgspec.structs.replace(order, peer=peer("node3")))

    await node.do(ReplicaClose(disk=disk))
    await node.do(ReplicaClose(disk=disk))
    seen = await node.seen(disk)
    assert (seen.serving, seen.clean, seen.problem) == (None, True, "")


async def test_a_replica_of_another_disk_or_generation_is_not_served(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))

    for other in (
        msgspec.structs.replace(disk, generation=2),
        msgspec.structs.replace(disk, uuid=new_uuid()),
        msgspec.structs.replace(disk, path="/srv/ganeti/file-storage/web1/disk7"),
    ):
        with pytest.raises(Rejected, match="cannot be used: it"):
            await node.do(ReplicaServe(disk=other, peer=peer(), host=HOST))
    assert (await node.seen(disk)).clean


async def test_what_is_prepared_for_a_next_primary_is_served_to_it_in_the_next_generation(
    node: Node,
) -> None:
    disk, before, after = replica(), peer(), peer("node3")
    await node.do(DiskCreate(disk=disk))
    await node.do(ReplicaServe(disk=disk, peer=before, host=HOST))
    following = msgspec.structs.replace(disk, generation=2)
    prepare = ReplicaPrepare(disk=following, peer=after, host=HOST)

    prepared: ReplicaPrepared = await node.do(prepare)
    assert await node.do(prepare) == prepared
    # Until then it is what it was, for whom it was.
    seen = await node.seen(disk)
    assert (seen.generation, seen.serving, seen.problem) == (1, before.node, "")
    seen = await node.seen(following)
    assert (seen.generation, seen.problem) == (2, "")

    served: ReplicaServed = await node.do(ReplicaServe(disk=following, peer=after, host=HOST))
    assert served.port == prepared.port
    seen = await node.seen(following)
    assert (seen.generation, seen.serving) == (2, after.node)
    assert "generation 2" in (await node.seen(disk)).problem
    # What would have given it up comes too late.
    await node.do(ReplicaForgo(disk=following))
    assert (await node.seen(following)).serving == after.node


async def test_what_was_prepared_can_be_given_up(node: Node) -> None:
    disk, before = replica(), peer()
    await node.do(DiskCreate(disk=disk))
    await node.do(ReplicaServe(disk=disk, peer=before, host=HOST))
    following = msgspec.structs.replace(disk, generation=2)
    await node.do(ReplicaPrepare(disk=following, peer=peer("node3"), host=HOST))

    await node.do(ReplicaForgo(disk=following))
    await node.do(ReplicaForgo(disk=following))

    assert "generation 1" in (await node.seen(following)).problem
    seen = await node.seen(disk)
    assert (seen.generation, seen.serving, seen.problem) == (1, before.node, "")


async def test_a_replica_that_is_not_in_sync_is_prepared_for_nothing(node: Node) -> None:
    disk = replica()
    await node.do(ReplicaServe(disk=disk, peer=peer(), host=HOST, overwrite=True))

    following = msgspec.structs.replace(disk, generation=2)
    with pytest.raises(Rejected, match="not in sync"):
        await node.do(ReplicaPrepare(disk=following, peer=peer("node3"), host=HOST))


async def test_overwriting_makes_a_replica_of_anything(node: Node) -> None:
    disk = replica()
    order = ReplicaServe(disk=disk, peer=peer(), host=HOST, overwrite=True)

    await node.do(order)

    seen = await node.seen(disk)
    assert (seen.there, seen.state, seen.generation) == (True, ReplicaState.SYNCING, 1)
    await node.do(ReplicaMark(disk=disk, generation=1, state=ReplicaState.IN_SYNC))
    assert (await node.seen(disk)).state is ReplicaState.IN_SYNC
    later = msgspec.structs.replace(disk, generation=2)
    await node.do(ReplicaClose(disk=disk))
    await node.do(msgspec.structs.replace(order, disk=later))
    assert (await node.seen(later)).state is ReplicaState.SYNCING
    await node.do(DiskRemove(disk=later))
    assert not (await node.seen(disk)).there


async def test_a_promotion_gives_the_record_another_generation(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    promoted = msgspec.structs.replace(disk, generation=2)
    order = ReplicaMark(disk=promoted, generation=1, state=ReplicaState.IN_SYNC)

    await node.do(order)
    await node.do(order)

    assert (await node.seen(promoted)).problem == ""
    with pytest.raises(Rejected):
        await node.do(
            ReplicaMark(
                disk=msgspec.structs.replace(disk, generation=9),
                generation=8,
                state=ReplicaState.IN_SYNC,
            )
        )
    forced = msgspec.structs.replace(disk, generation=9)
    await node.do(ReplicaMark(disk=forced, generation=8, state=ReplicaState.IN_SYNC, force=True))
    assert (await node.seen(forced)).problem == ""


async def test_a_guest_opens_its_replicas_and_closes_them_in_order(node: Node) -> None:
    disk, mirrored = replica(), target()
    await node.do(DiskCreate(disk=disk))
    spec = msgspec.structs.replace(
        guest(), disks=(msgspec.structs.replace(disk, targets=(mirrored,)),)
    )

    live: GuestLive = await node.do(start(spec))

    (mirror,) = live.mirrors
    assert (mirror.disk, mirror.node, mirror.phase) == (
        disk.uuid,
        mirrored.node,
        MirrorPhase.READY,
    )
    assert not (await node.seen(disk)).clean
    with pytest.raises(Rejected, match="writes to"):
        await node.do(ReplicaServe(disk=disk, peer=peer(), host=HOST))
    await node.do(stop(spec))
    assert (await node.seen(disk)).clean
    assert (await node.guest(live)).mirrors == ()


async def test_a_guest_does_not_start_from_a_replica_that_is_not_right(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    for generation, state in ((2, ReplicaState.IN_SYNC), (1, ReplicaState.STALE)):
        await node.do(ReplicaMark(disk=disk, generation=1, state=state))
        asked = msgspec.structs.replace(disk, generation=generation)
        spec = msgspec.structs.replace(guest(), disks=(asked,))
        with pytest.raises(Rejected, match="cannot be used: it is"):
            await node.do(start(spec))


async def test_mirrors_come_and_go_while_a_guest_is_up(harness: Harness, node: Node) -> None:
    disk, one, other = replica(), target(), target()
    await node.do(DiskCreate(disk=disk))
    spec = msgspec.structs.replace(guest(), disks=(disk,))
    live: GuestLive = await node.do(start(spec))
    told: asyncio.Queue[GuestLive] = asyncio.Queue()
    began = asyncio.Event()

    async def listen() -> None:
        async for event in harness.agents.events(harness.address):
            began.set()
            if isinstance(event, GuestChanged):
                told.put_nowait(event.guest)

    listening = asyncio.create_task(listen())
    await began.wait()
    for each in (one, other, one):
        await node.do(MirrorAttach(guest=live.uuid, hypervisor="fake", index=0, target=each))
    assert [each.node for each in (await node.guest(live)).mirrors] == [one.node, other.node]
    release = MirrorRelease(guest=live.uuid, hypervisor="fake", index=0, node=one.node)
    await node.do(release)
    await node.do(release)
    await node.do(msgspec.structs.replace(release, forget=True))
    assert [each.node for each in (await node.guest(live)).mirrors] == [other.node]
    async with asyncio.timeout(100):
        while [each.node for each in (await told.get()).mirrors] != [other.node]:
            pass
    listening.cancel()
    await node.do(stop(spec))
    await node.do(release)
    with pytest.raises(Rejected, match="not running"):
        await node.do(MirrorAttach(guest=live.uuid, hypervisor="fake", index=0, target=one))


async def test_a_file_becomes_mirrored_under_its_guest_and_a_file_again(node: Node) -> None:
    disk = replica()
    file = msgspec.structs.replace(disk, template=DiskTemplate.FILE, generation=0)
    await node.do(DiskCreate(disk=file))
    spec = msgspec.structs.replace(guest(), disks=(file,))

    def convert(to: DiskSpec) -> DiskConvert:
        return DiskConvert(disk=to, guest=spec.uuid, hypervisor="fake")

    await node.do(convert(disk))
    assert (await node.seen(disk)).generation == 0, "the guest does not run"
    live: GuestLive = await node.do(start(spec))
    for _ in range(2):
        await node.do(convert(disk))
    seen = await node.seen(disk)
    assert (seen.generation, seen.state, seen.clean) == (1, ReplicaState.IN_SYNC, False)
    assert seen.problem == ""
    one = target()
    await node.do(MirrorAttach(guest=live.uuid, hypervisor="fake", index=0, target=one))
    assert [each.node for each in (await node.guest(live)).mirrors] == [one.node]
    for _ in range(2):
        await node.do(convert(file))
    assert (await node.guest(live)).mirrors == ()

    # Mirrored once more, it is the replica that its guest closes in order.
    await node.do(convert(disk))
    await node.do(stop(spec))
    seen = await node.seen(disk)
    assert (seen.clean, seen.problem) == (True, "")
    # Also where it was a file in between, and nobody looked at its record.
    node.harness.write_to(disk.path)
    mark = ReplicaMark(disk=disk, generation=0, state=ReplicaState.IN_SYNC, force=True)
    await node.do(mark)
    assert (await node.seen(disk)).problem == ""


async def test_a_mirrored_disk_comes_to_a_guest_that_runs_and_goes(node: Node) -> None:
    first, second = replica(), replica(index=1, path="/srv/ganeti/file-storage/web1/disk1")
    for disk in (first, second):
        await node.do(DiskCreate(disk=disk))
    spec = msgspec.structs.replace(guest(), disks=(first,))
    live: GuestLive = await node.do(start(spec))
    one = target()
    more = msgspec.structs.replace(second, targets=(one,))
    plug = DiskPlug(disk=more, guest=spec.uuid, hypervisor="fake")
    unplug = DiskUnplug(disk=second, guest=spec.uuid, hypervisor="fake", keep=True)

    async def mirrored() -> list[tuple[str, str]]:
        return [(each.disk, each.node) for each in (await node.guest(live)).mirrors]

    for order in (plug, plug, unplug, unplug, plug):
        await node.do(order)
        assert await mirrored() == [(second.uuid, one.node)]
    assert not (await node.seen(second)).clean
    for _ in range(2):
        await node.do(msgspec.structs.replace(unplug, keep=False))
        assert await mirrored() == []
    await node.do(stop(spec))
    assert (await node.seen(first)).clean
    await node.do(unplug)


async def test_disks_of_a_guest_that_is_not_up_are_mirrored_until_they_are_closed(
    harness: Harness, node: Node
) -> None:
    here = replica()
    there = msgspec.structs.replace(here, path=here.path + ".there")
    await node.do(DiskCreate(disk=here))
    me = Peer(node=harness.address.node, name="node1", host=HOST)
    served: ReplicaServed = await node.do(
        ReplicaServe(disk=there, peer=me, host=HOST, overwrite=True)
    )
    mirrored = MirrorTarget(node=me.node, name=me.name, host=HOST, port=served.port, full=True)
    spec = guest()
    order = DisksActivate(
        guest=spec.uuid,
        name=spec.name,
        disks=(msgspec.structs.replace(here, targets=(mirrored,)),),
    )
    wrong = msgspec.structs.replace(here, generation=9, targets=(mirrored,))
    with pytest.raises(Rejected, match="of generation"):
        await node.do(msgspec.structs.replace(order, disks=(wrong,)))

    await node.do(order)
    await node.do(order)

    async with asyncio.timeout(100):
        while True:
            found = await harness.agents.ask(harness.address, ReadGuests(), 20.0)
            (live,) = found.guests
            if [one.phase for one in live.mirrors] == [MirrorPhase.READY]:
                break
            await asyncio.sleep(0.05)
    assert (live.uuid, live.up) == (spec.uuid, False)
    release = MirrorRelease(guest=spec.uuid, hypervisor="fake", index=0, node=me.node)
    await node.do(release)
    await node.do(DisksDeactivate(guest=spec.uuid))
    await node.do(DisksDeactivate(guest=spec.uuid))
    assert (await harness.agents.ask(harness.address, ReadGuests(), 20.0)).guests == ()
    assert (await node.seen(here)).clean
    await node.do(ReplicaClose(disk=there))


async def test_a_guest_that_starts_closes_its_disks_first(harness: Harness, node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    spec = msgspec.structs.replace(guest(), disks=(disk,))
    await node.do(DisksActivate(guest=spec.uuid, name=spec.name, disks=(disk,)))

    await node.do(start(spec))

    with pytest.raises(Rejected, match="is up"):
        await node.do(DisksActivate(guest=spec.uuid, name=spec.name, disks=(disk,)))
    await node.do(stop(spec))
