"""What every agent does with replicas of mirrored disks that become larger."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import guest, start
from tests.contract.agents.test_replicas import HOST, Node, peer, replica
from tests.contract.agents.test_replicas import node as node

from gantry.model.disk_orders import DiskGrow, ReadDisks
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.orders import DiskCreate, DiskSpec
from gantry.model.replica_orders import ReplicaGrow, ReplicaReserve, ReplicaServe, ReplicaServed


async def size(node: Node, disk: DiskSpec) -> int | None:
    """MiB of the file."""
    said = await node.harness.agents.ask(node.harness.address, ReadDisks(disks=(disk,)), 20.0)
    found = said.disks[0].size
    return None if found is None else found >> 20


def larger(disk: DiskSpec) -> DiskSpec:
    return msgspec.structs.replace(disk, size=3)


async def test_one_that_is_served_grows_and_stays_where_it_is(harness: Harness, node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    order = ReplicaServe(disk=disk, peer=peer(), host=HOST)
    served: ReplicaServed = await node.do(order)
    await node.do(ReplicaReserve(disk=disk, size=3))
    assert await size(node, disk) == 1

    await node.do(ReplicaGrow(disk=larger(disk)))
    await node.do(ReplicaGrow(disk=larger(disk)))

    assert await size(node, disk) == 3
    assert (await node.seen(larger(disk))).problem == ""
    assert await node.do(msgspec.structs.replace(order, disk=larger(disk))) == served
    # What a job that failed wants back is what is left of it.
    await node.do(ReplicaReserve(disk=disk, size=1))
    assert await size(node, disk) == 3


async def test_what_another_disk_is_or_does_not_fit_does_not_grow(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    other = msgspec.structs.replace(disk, generation=2)
    for order in (ReplicaReserve(disk=other, size=3), ReplicaGrow(disk=larger(other))):
        with pytest.raises(Rejected, match="cannot be used: it is of generation 1, not 2"):
            await node.do(order)
    with pytest.raises(OperationFailed):
        await node.do(ReplicaReserve(disk=disk, size=1 << 30))
    assert await size(node, disk) == 1


@pytest.mark.parametrize("up", [False, True])
async def test_the_primarys_grows_with_its_guest_or_without(node: Node, up: bool) -> None:
    disk, spec = replica(), guest()
    await node.do(DiskCreate(disk=disk))
    spec = msgspec.structs.replace(spec, disks=(disk,))
    if up:
        await node.do(start(spec))

    for _ in range(2):
        await node.do(DiskGrow(disk=disk, size=3, guest=spec.uuid, hypervisor="fake"))

    assert await size(node, disk) == 3
    assert (await node.seen(larger(disk))).problem == ""


async def test_one_that_missed_it_grows_when_it_is_served(node: Node) -> None:
    disk = replica()
    await node.do(DiskCreate(disk=disk))
    assert (await node.seen(larger(disk))).problem == ""

    await node.do(ReplicaServe(disk=larger(disk), peer=peer(), host=HOST))

    assert await size(node, disk) == 3
