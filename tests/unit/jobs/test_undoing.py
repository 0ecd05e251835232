"""Undoing is not disturbed, and what it could not do is done later, if it still makes sense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.fakes.agents import Call, FakeAgents, Fault
from tests.fakes.cluster import FakeCluster, instance, instance_uuid, node_uuid
from tests.fakes.world import FakeDisk

from gantry.jobs import codec
from gantry.jobs.codec import DebrisRecord
from gantry.model import timeouts
from gantry.model.backup_orders import ExportDiscard, SnapshotClose
from gantry.model.entities import AdminState, Disk, DiskTemplate
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.jobs import JobStatus
from gantry.model.names import JobId, Uuid
from gantry.model.orders import (
    DiskPlug,
    DiskRemove,
    DiskSpec,
    DiskUnplug,
    GuestSpec,
    GuestStart,
    GuestStop,
    HooksRun,
)
from gantry.operations.steps import specs
from gantry.ports.agents import Address
from gantry.ports.store import Put

START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}


@pytest.fixture
async def made() -> AsyncIterator[FakeCluster]:
    cluster = await FakeCluster.make(
        [
            instance(1, admin_state=AdminState.UP),
            instance(2),
            instance(3, node=2, admin_state=AdminState.UP),
        ]
    )
    yield cluster
    await cluster.close()


def owed(order: Any, cluster: FakeCluster, node: int = 1) -> DebrisRecord:
    return DebrisRecord(job=JobId(7), to=cluster.address(node), order=order)


def guest_start(number: int) -> GuestStart:
    spec = GuestSpec(
        uuid=instance_uuid(number), name=f"web{number}", hypervisor="fake", memory=16, vcpus=1
    )
    return GuestStart(spec=spec)


async def keep(cluster: FakeCluster, *records: DebrisRecord) -> None:
    """In the store, from the last key to the first."""
    for number, record in enumerate(records):
        key = codec.debris_key(f"{9 - number}" * 24, 0, 0)
        await cluster.store.txn([], [Put(key, codec.encode(record))])


def sent(cluster: FakeCluster, kind: type[msgspec.Struct]) -> list[str]:
    """The guests or disks that orders of the kind were about."""
    orders: list[Any] = [call.order for call in cluster.agents.calls]
    return [str(order) for order in orders if isinstance(order, kind)]


async def test_a_job_that_is_being_undone_cannot_be_cancelled(made: FakeCluster) -> None:
    undoing, go_on = asyncio.Event(), asyncio.Event()

    def fault(call: Call) -> Fault | None:
        if "/undo/" in call.envelope.key:
            undoing.set()
        return Fault.FAILS_AFTER if isinstance(call.order, GuestStart) else None

    node = made.world.nodes[node_uuid(1)]
    carry_out = node.carry_out

    async def slow(order: Any, say: Any) -> Any:
        if isinstance(order, GuestStop):
            await go_on.wait()
        return await carry_out(order, say)

    node.carry_out = slow  # type: ignore[method-assign]
    made.agents.fault = fault
    await made.start()
    job = await made.submit(START)
    async with asyncio.timeout(100):
        await undoing.wait()
        with pytest.raises(Rejected, match="being undone already"):
            await made.engine.cancel(job, kill=True)
        go_on.set()
        ended = await made.engine.wait(job)
        await made.engine.settle()
    assert ended.status is JobStatus.ERROR
    assert not any(guest.up for guest in node.live)
    assert await made.keys("debris/") == []


class Strange(FakeAgents):
    """The scripts of a phase wait for a cancel; other cancels are answered with nonsense."""

    def __init__(self, made: FakeCluster) -> None:
        super().__init__(made.world, now=made.clock.monotonic)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def order(self, to: Any, envelope: Any, order: Any, progress: Any = None) -> Any:
        if isinstance(order, HooksRun) and not self.go_on.is_set():
            self.begun.set()
            await self.go_on.wait()
        return await super().order(to, envelope, order, progress)

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        if "/hooks-" not in key:
            raise OperationFailed("the agent answered what nobody understands")
        self.go_on.set()


async def test_what_was_begun_is_undone_also_where_a_node_answers_a_cancel_with_nonsense(
    made: FakeCluster,
) -> None:
    agents = Strange(made)
    cluster = FakeCluster(made.store, agents, made.clock)
    engine = await cluster.start()
    job = await cluster.submit(START)
    async with asyncio.timeout(100):
        await agents.begun.wait()
        await engine.cancel(job, kill=True)
        ended = await engine.wait(job)
        await engine.settle()
    assert ended.status is JobStatus.CANCELED
    assert len(sent(cluster, GuestStop)) == 1
    await cluster.close()


async def test_a_start_that_is_owed_is_done_only_for_a_guest_that_should_be_up_there(
    made: FakeCluster,
) -> None:
    # web1 should be up; web2 should be down; web3 is on node 2; web4 is gone.
    await keep(made, *(owed(guest_start(number), made) for number in (1, 2, 3, 4)))
    await made.start()
    await made.engine.settle()
    assert [guest.uuid for guest in made.world.nodes[node_uuid(1)].live] == [instance_uuid(1)]
    assert len(sent(made, GuestStart)) == 1
    assert await made.keys("debris/") == []


async def test_a_disk_that_an_instance_has_now_is_not_removed() -> None:
    spec = DiskSpec(
        uuid=Uuid("00000000-0000-4000-8000-000000009999"),
        index=0,
        size=1,
        path="/srv/disk0",
        template=DiskTemplate.FILE,
    )
    disk = Disk(uuid=spec.uuid, size=1, path=spec.path, template=DiskTemplate.FILE)
    cluster = await FakeCluster.make([instance(1, disks=(disk,))])
    await keep(cluster, owed(DiskRemove(disk=spec), cluster))
    await cluster.start()
    await cluster.engine.settle()
    assert sent(cluster, DiskRemove) == []
    assert await cluster.keys("debris/") == []
    await cluster.close()


async def test_a_disk_that_is_owed_to_a_guest_comes_or_goes_as_its_record_says() -> None:
    made = [
        Disk(
            uuid=Uuid(f"00000000-0000-4000-8000-00000000999{number}"),
            size=1,
            path=f"/srv/ganeti/file-storage/disk{number}",
            template=DiskTemplate.FILE,
        )
        for number in range(2)
    ]
    # web1 runs with its first disk; web2 is down.
    cluster = await FakeCluster.make(
        [
            instance(1, disks=tuple(made[:1]), admin_state=AdminState.UP),
            instance(2, disks=tuple(made[:1])),
        ]
    )
    cluster.world.nodes[node_uuid(1)]._start(guest_start(1))
    cluster.world.nodes[node_uuid(1)].disks[made[0].path] = FakeDisk(specs.disk(0, made[0]))
    wanted: list[tuple[type[DiskPlug] | type[DiskUnplug], int, int]] = [
        (DiskPlug, 0, 1),
        (DiskPlug, 1, 1),
        (DiskUnplug, 0, 1),
        (DiskUnplug, 1, 1),
        (DiskPlug, 0, 2),
    ]
    for number, (kind, index, guest) in enumerate(wanted):
        order = kind(
            disk=specs.disk(index, made[index]), guest=instance_uuid(guest), hypervisor="fake"
        )
        key = codec.debris_key(f"{number}" * 24, 0, 0)
        await cluster.store.txn([], [Put(key, codec.encode(owed(order, cluster)))])
    await cluster.start()
    await cluster.engine.settle()
    assert ["disk0" in one for one in sent(cluster, DiskPlug)] == [True]
    assert ["disk1" in one for one in sent(cluster, DiskUnplug)] == [True]
    assert await cluster.keys("debris/") == []
    await cluster.close()


async def test_what_is_owed_is_tried_again_while_the_node_answers(
    made: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "OWED_PAUSES", (0.0,))
    done, tries = asyncio.Event(), 0

    def fault(call: Call) -> Fault | None:
        nonlocal tries
        if isinstance(call.order, GuestStart):
            return Fault.FAILS_AFTER
        if isinstance(call.order, GuestStop):
            tries += 1
            if tries < 4:
                return Fault.FAILS
            done.set()
        return None

    made.agents.fault = fault
    await made.start()
    job = await made.run({**START, "instance_name": "web2"})
    assert job.status is JobStatus.ERROR
    async with asyncio.timeout(100):
        await done.wait()
    await made.engine.settle()
    assert await made.keys("debris/") == []
    assert made.engine.idle


async def test_a_stop_that_is_owed_leaves_a_guest_alone_that_was_started_since(
    made: FakeCluster,
) -> None:
    await keep(made, owed(GuestStop(uuid=instance_uuid(1), hypervisor="fake", timeout=1), made))
    await made.start()
    await made.engine.settle()
    assert not [call for call in made.agents.calls if isinstance(call.order, GuestStop)]
    assert await made.keys("debris/") == []


async def test_what_is_owed_is_done_in_the_order_of_its_making(made: FakeCluster) -> None:
    guests = [instance_uuid(number) for number in (2, 4, 5)]
    await keep(
        made,
        *(owed(GuestStop(uuid=guest, hypervisor="fake", timeout=1), made) for guest in guests),
    )
    await made.start()
    await made.engine.settle()
    stops = [call.order for call in made.agents.calls if isinstance(call.order, GuestStop)]
    assert [stop.uuid for stop in stops] == guests


async def test_what_is_owed_of_an_export_waits_for_who_has_the_instance(
    made: FakeCluster,
) -> None:
    """It would take away what is being exported now, which has the same place."""
    at_work, go_on = asyncio.Event(), asyncio.Event()
    node = made.world.nodes[node_uuid(1)]
    carry_out = node.carry_out

    async def slow(order: Any, say: Any) -> Any:
        if isinstance(order, GuestStop):
            at_work.set()
            await go_on.wait()
        return await carry_out(order, say)

    node.carry_out = slow  # type: ignore[method-assign]
    await made.start()
    async with asyncio.timeout(100):
        job = await made.submit({"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"})
        await at_work.wait()
        name = made.engine.snapshot().instance("web1").name
        snapshot = SnapshotClose(guest=instance_uuid(1), hypervisor="fake", disks=())
        for number, order in enumerate((ExportDiscard(instance=name), snapshot)):
            key, record = codec.debris_key(f"{number}" * 24, 0, 0), owed(order, made)
            await made.store.txn([], [Put(key, codec.encode(record))])
            made.engine._debris.add(key, record)
        made.engine._debris.node_back(node_uuid(1))
        await made.engine._context.background.settle()
        assert sent(made, ExportDiscard) == sent(made, SnapshotClose) == []
        go_on.set()
        await made.engine.wait(job)
        made.engine._debris.node_back(node_uuid(1))
        await made.engine.settle()
    assert await made.keys("debris/") == []
    assert len(sent(made, ExportDiscard)) == len(sent(made, SnapshotClose)) == 1
