"""Disks that are there: their sizes, growing them, and what is not removed."""

from __future__ import annotations

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import disk, envelope, guest, start
from tests.support.agent_process import new_uuid

from gantry.model.disk_orders import DiskGrow, DiskPlug, DiskUnplug, ReadDisks
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.orders import DiskCreate, DiskRemove, DiskSpec, GuestSpec, Inspect

_MIB = 1 << 20


async def made(harness: Harness) -> DiskSpec:
    one = disk(size=2)
    await harness.agents.order(harness.address, envelope("make/1"), DiskCreate(disk=one))
    return one


async def sizes(harness: Harness, *disks: DiskSpec) -> list[int | None]:
    said = await harness.agents.ask(harness.address, ReadDisks(disks=disks), 10.0)
    assert [one.uuid for one in said.disks] == [one.uuid for one in disks]
    assert [bool(one.problem) for one in said.disks] == [one.size is None for one in said.disks]
    return [one.size for one in said.disks]


async def grow(harness: Harness, one: DiskSpec, size: int, spec: GuestSpec | None = None) -> None:
    order = DiskGrow(
        disk=one, size=size, guest=spec.uuid if spec else new_uuid(), hypervisor="fake"
    )
    await harness.agents.order(harness.address, envelope(f"grow/{new_uuid()}"), order)


async def test_a_disk_grows_and_never_shrinks(harness: Harness) -> None:
    one, other = await made(harness), disk("/srv/ganeti/file-storage/web2/disk0")
    assert await sizes(harness, one, other) == [2 * _MIB, None]
    await grow(harness, one, 5)
    assert await sizes(harness, one) == [5 * _MIB]
    await grow(harness, one, 3)
    await grow(harness, one, 5)
    assert await sizes(harness, one) == [5 * _MIB]


async def test_a_disk_grows_under_its_guest(harness: Harness) -> None:
    one, spec = await made(harness), guest()
    await harness.agents.order(harness.address, envelope("start/1"), start(spec))
    await grow(harness, one, 4, spec)
    assert await sizes(harness, one) == [4 * _MIB]


async def test_what_is_not_there_or_does_not_fit_does_not_grow(harness: Harness) -> None:
    with pytest.raises(OperationFailed):
        await grow(harness, disk(), 5)
    one = await made(harness)
    with pytest.raises(OperationFailed):
        await grow(harness, one, 1 << 40)
    assert await sizes(harness, one) == [2 * _MIB]


async def test_what_has_content_is_not_taken_for_what_was_just_made(harness: Harness) -> None:
    one = await made(harness)
    take = DiskRemove(disk=one, untouched=True)
    await harness.agents.order(harness.address, envelope("take/1"), take)
    assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("take/2"), take)
    await harness.agents.order(harness.address, envelope("make/2"), DiskCreate(disk=one))
    harness.write_to(one.path)
    await harness.agents.order(harness.address, envelope("take/3"), take)
    assert harness.disk_is_there(one.path)


async def test_a_disk_comes_to_a_guest_that_runs_and_to_no_other(harness: Harness) -> None:
    one, spec = await made(harness), guest()

    async def order(kind: type[DiskPlug] | type[DiskUnplug]) -> None:
        what = kind(disk=one, guest=spec.uuid, hypervisor="fake")
        await harness.agents.order(harness.address, envelope(f"plug/{new_uuid()}"), what)

    with pytest.raises(Rejected, match="not running"):
        await order(DiskPlug)
    await order(DiskUnplug)
    await harness.agents.order(harness.address, envelope("start/1"), start(spec))
    for kind in (DiskPlug, DiskPlug, DiskUnplug, DiskUnplug):
        await order(kind)


async def test_every_file_among_disks_is_told(harness: Harness) -> None:
    base = "/srv/ganeti/file-storage"
    paths = [f"{base}/a", f"{base}/web1/b", f"{base}/below/web1/c"]
    for number, path in enumerate(paths):
        order = DiskCreate(disk=disk(path))
        await harness.agents.order(harness.address, envelope(f"make/{number}"), order)
    question = Inspect(storage_dirs=(base,))
    said = await harness.agents.ask(harness.address, question, 10.0)
    assert sorted(said.disks) == sorted(paths)
