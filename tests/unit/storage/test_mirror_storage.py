"""Replicas on one node: allocated in full, and used only where they are what they should be."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gantry.model.entities import DiskFormat, DiskTemplate, ReplicaState
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.specs import MirrorTarget
from gantry.storage.file import beside
from gantry.storage.mirror import MirrorStorage

DIRECTORY = "/srv/ganeti/disks"
OTHER = Uuid("11111111-89ab-cdef-0123-456789abcdef")


@pytest.fixture
def storage(tmp_path: Path) -> MirrorStorage:
    return MirrorStorage(tmp_path, [DIRECTORY])


@pytest.fixture
def disk() -> DiskSpec:
    return DiskSpec(
        uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
        index=0,
        size=2,
        path=f"{DIRECTORY}/web1.gantry.test/disk0",
        template=DiskTemplate.MIRROR,
        generation=3,
    )


def path(storage: MirrorStorage, disk: DiskSpec) -> Path:
    return Path(storage.real_path(disk))


def scribble(storage: MirrorStorage, disk: DiskSpec) -> None:
    with path(storage, disk).open("r+b") as file:
        file.write(os.urandom(512))


async def test_a_new_replica_has_all_its_blocks_and_goes_without_a_trace(
    storage: MirrorStorage, disk: DiskSpec, tmp_path: Path
) -> None:
    await storage.create(disk)
    await storage.create(disk)

    found = path(storage, disk).stat()
    assert (found.st_size, found.st_blocks * 512) == (2 << 20, 2 << 20)
    assert found.st_mode & 0o077 == 0
    assert await storage.untouched(disk)
    await storage.remove(disk)
    await storage.remove(disk)
    assert list((tmp_path / DIRECTORY.lstrip("/")).iterdir()) == []


async def test_one_that_was_ever_opened_is_never_taken_for_a_new_one(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    await storage.open([disk])
    await storage.closed([disk])

    assert not await storage.untouched(disk)
    with pytest.raises(Rejected, match="exists already"):
        await storage.create(disk)


async def test_only_raw_disks_are_mirrored(storage: MirrorStorage, disk: DiskSpec) -> None:
    with pytest.raises(Rejected, match="cannot be mirrored as qcow2"):
        await storage.create(msgspec.structs.replace(disk, format=DiskFormat.QCOW2))
    assert not await storage.exists(disk)


async def test_a_foreign_write_is_seen_only_between_an_orderly_end_and_the_next_opening(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    await storage.open([disk])
    scribble(storage, disk)
    await storage.closed([disk])
    assert (await storage.seen(disk)).problem == ""
    scribble(storage, disk)

    for use in (storage.open([disk]), storage.serve(disk, overwrite=False)):
        with pytest.raises(Rejected, match="somebody else has written to it"):
            await use
    assert "somebody else" in (await storage.seen(disk)).problem


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"uuid": OTHER}, "belongs to another disk"),
        ({"generation": 4}, "is of generation 3, not 4"),
        ({"size": 1}, "it has 2 MiB, and the disk has 1"),
        ({"path": f"{DIRECTORY}/web1.gantry.test/disk1"}, "is not there"),
    ],
)
async def test_another_disk_generation_or_size_is_refused(
    storage: MirrorStorage, disk: DiskSpec, change: dict[str, object], why: str
) -> None:
    await storage.create(disk)
    other = msgspec.structs.replace(disk, **change)
    for use in (storage.open([other]), storage.serve(other, overwrite=False)):
        with pytest.raises(Rejected, match=why):
            await use


async def test_a_record_that_is_lost_or_damaged_is_a_reason_not_to_use_it(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    record = beside(path(storage, disk), "replica")
    record.write_text("{")
    with pytest.raises(Rejected, match="its record is damaged"):
        await storage.open([disk])
    record.unlink()
    with pytest.raises(Rejected, match="no record of whose it is"):
        await storage.open([disk])

    await storage.serve(disk, overwrite=True)
    assert (await storage.seen(disk)).state is ReplicaState.SYNCING


async def test_what_makes_an_opening_undone_leaves_the_record_as_it_was(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    before = beside(path(storage, disk), "replica").read_bytes()

    undo = await storage.open([disk])
    assert not (await storage.seen(disk)).clean
    await undo()

    assert beside(path(storage, disk), "replica").read_bytes() == before


async def test_after_an_unclean_end_nothing_is_taken_for_the_same(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    await storage.open([disk])
    target = MirrorTarget(node=OTHER, name="node2", host="127.0.0.1", port=1)
    with pytest.raises(Rejected, match="not closed in order, so that node2 may differ"):
        await storage.open([msgspec.structs.replace(disk, targets=(target,))])
    full = msgspec.structs.replace(target, full=True)
    await storage.open([msgspec.structs.replace(disk, targets=(full,))])


async def test_the_word_for_its_content_stays_while_one_node_writes_and_no_longer(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    first = await storage.serve(disk, overwrite=False)
    assert await storage.serve(disk, overwrite=True) == first
    await storage.closed([disk])
    assert await storage.serve(disk, overwrite=True) == first
    await storage.closed([disk])

    scribble(storage, disk)
    second = await storage.serve(disk, overwrite=True)
    assert second != first
    await storage.closed([disk])
    promoted = msgspec.structs.replace(disk, generation=4)
    await storage.mark(promoted, 3, ReplicaState.IN_SYNC, force=False)
    assert storage.content(promoted) != second
    third = storage.content(promoted)
    await storage.open([promoted])
    assert storage.content(promoted) != third


async def test_a_sparse_or_short_file_that_is_overwritten_gets_all_its_blocks(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    os.truncate(path(storage, disk), 0)
    os.truncate(path(storage, disk), 1 << 20)

    await storage.serve(disk, overwrite=True)

    found = path(storage, disk).stat()
    assert (found.st_size, found.st_blocks * 512) == (2 << 20, 2 << 20)


async def test_what_has_holes_gets_all_its_blocks_before_anybody_mirrors_to_it(
    storage: MirrorStorage, disk: DiskSpec
) -> None:
    """An installation made it sparse, say; without room a mirror's write would be lost."""
    await storage.create(disk)
    await storage.open([disk])
    file = path(storage, disk)
    file.write_bytes(b"kept")
    os.truncate(file, 2 << 20)
    await storage.closed([disk])
    assert file.stat().st_blocks * 512 < 2 << 20
    await storage.serve(disk, overwrite=False)
    assert file.stat().st_blocks * 512 >= 2 << 20
    assert file.read_bytes() == b"kept".ljust(2 << 20, b"\0")
