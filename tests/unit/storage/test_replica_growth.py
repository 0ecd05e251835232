"""Replicas that become larger: room before size, and a growth that was missed is made up for."""

from __future__ import annotations

import os

import msgspec
import pytest
from tests.unit.storage.test_mirror_storage import disk as disk
from tests.unit.storage.test_mirror_storage import path, scribble
from tests.unit.storage.test_mirror_storage import storage as storage

from gantry.model.entities import ReplicaState
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.orders import DiskSpec
from gantry.storage import replica_record
from gantry.storage.file import beside
from gantry.storage.mirror import MirrorStorage

MIB = 1 << 20


def larger(disk: DiskSpec, size: int = 5) -> DiskSpec:
    return msgspec.structs.replace(disk, size=size)


def shape(storage: MirrorStorage, disk: DiskSpec) -> tuple[int, int]:
    """MiB that the file says, and that it takes."""
    found = path(storage, disk).stat()
    return found.st_size // MIB, found.st_blocks * 512 // MIB


async def written(storage: MirrorStorage, disk: DiskSpec) -> bytes:
    """A replica that a guest has written to."""
    await storage.create(disk)
    await storage.open([disk])
    scribble(storage, disk)
    await storage.closed([disk])
    return path(storage, disk).read_bytes()


async def test_room_is_kept_and_given_back_and_nothing_else_changes(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    before = await written(storage, disk)

    for _ in range(2):
        await storage.reserve(disk, 5)
    assert shape(storage, disk) == (2, 5)
    assert path(storage, disk).read_bytes() == before
    for _ in range(2):
        await storage.reserve(disk, disk.size)
    assert path(storage, disk).read_bytes() == before
    assert (await storage.seen(disk)).problem == ""
    with pytest.raises(OperationFailed, match=r"No space left|are free|too large"):
        await storage.reserve(disk, 1 << 40)
    assert (await storage.seen(disk)).problem == ""
    assert shape(storage, disk) == (2, 2)


async def test_it_grows_with_zeros_and_stays_what_it_is(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    before = await written(storage, disk)
    content = storage.content(disk)

    for _ in range(2):
        await storage.grow(larger(disk))

    assert shape(storage, disk) == (5, 5)
    assert path(storage, disk).read_bytes() == before + bytes(3 * MIB)
    seen = await storage.seen(larger(disk))
    assert (seen.problem, seen.clean, seen.state) == ("", True, ReplicaState.IN_SYNC)
    assert storage.content(larger(disk)) == content
    # What was kept is undone where the job failed, also after this.
    await storage.reserve(disk, disk.size)
    assert shape(storage, disk) == (5, 5)
    with pytest.raises(Rejected, match="it has 5 MiB, and the disk has 2"):
        await storage.open([disk])


@pytest.mark.parametrize("way", ["open", "serve", "overwrite"])
async def test_one_that_missed_a_growth_grows_when_it_is_opened(
    storage: MirrorStorage, disk: DiskSpec, way: str
) -> None:
    before = await written(storage, disk)
    content, disk = storage.content(disk), larger(disk)
    assert (await storage.seen(disk)).problem == ""

    if way == "open":
        undo = await storage.open([disk])
        await undo()
    else:
        # With the word for its content: what it lacks is what others know of it.
        assert await storage.serve(disk, overwrite=way == "overwrite") == content

    assert shape(storage, disk) == (5, 5)
    assert path(storage, disk).read_bytes() == before + bytes(3 * MIB)
    assert (await storage.seen(disk)).problem == ""


async def test_one_that_somebody_cut_off_or_wrote_to_does_not_grow(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await written(storage, disk)
    os.truncate(path(storage, disk), MIB)
    for use in (storage.grow(larger(disk)), storage.open([larger(disk)])):
        with pytest.raises(Rejected, match="bytes instead of 2 MiB"):
            await use
    os.truncate(path(storage, disk), 2 * MIB)
    with pytest.raises(Rejected, match="somebody else has written to it"):
        await storage.grow(larger(disk))


@pytest.mark.parametrize("cut", [2, 5])
async def test_a_growth_that_was_cut_off_is_ended_by_whoever_comes_next(
    storage: MirrorStorage, disk: DiskSpec, cut: int
) -> None:
    before = await written(storage, disk)
    await storage.growing(larger(disk))
    os.truncate(path(storage, disk), cut * MIB)  # by a QEMU that was killed before or after
    assert (await storage.seen(larger(disk))).problem == ""

    undo = await storage.open([larger(disk)])
    await undo()

    assert shape(storage, disk) == (5, 5)
    assert path(storage, disk).read_bytes() == before + bytes(3 * MIB)


@pytest.mark.parametrize("grown", [2, 5])
async def test_what_a_guest_has_open_is_recorded_as_it_is(
    storage: MirrorStorage, disk: DiskSpec, grown: int
) -> None:
    await written(storage, disk)
    await storage.open([disk])
    await storage.growing(larger(disk))
    await storage.growing(larger(disk))
    os.truncate(path(storage, disk), grown * MIB)  # as QEMU does
    await storage.grew(larger(disk))
    await storage.grew(larger(disk))

    found = replica_record.read(beside(path(storage, disk), replica_record.NAME))
    assert found is not None
    assert (found.size, found.before, found.clean) == (grown, 0, False)
    await storage.closed([disk])
    assert (await storage.seen(larger(disk))).problem == ""
