"""What QEMU counted is believed from an orderly end to the next opening, and at no other time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gantry.model.entities import DiskTemplate, ReplicaState
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.storage.mirror import MirrorStorage

DIRECTORY = "/srv/ganeti/disks"
DISK = DiskSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    index=0,
    size=1,
    path=f"{DIRECTORY}/web1.gantry.test/disk0",
    template=DiskTemplate.MIRROR,
    generation=3,
)


@pytest.fixture
async def storage(tmp_path: Path) -> MirrorStorage:
    """With the disk, to which a guest is writing."""
    made = MirrorStorage(tmp_path, [DIRECTORY])
    await made.create(DISK)
    await made.open([DISK])
    return made


def count(storage: MirrorStorage, content: bytes = b"counted") -> None:
    """What QEMU does before it ends."""
    storage.bitmaps(DISK).write_bytes(content)


async def kept(storage: MirrorStorage) -> bool:
    return await storage.kept([DISK]) == {DISK.uuid}


async def test_it_is_believed_after_an_orderly_end_until_somebody_opens_the_disk(
    storage: MirrorStorage,
) -> None:
    count(storage)
    assert not await kept(storage)
    await storage.closed([DISK], {DISK.uuid})
    assert await kept(storage)

    undo = await storage.open([DISK])
    assert not await kept(storage)
    await undo()
    assert await kept(storage)

    await storage.open([DISK])
    await storage.closed([DISK])
    assert not await kept(storage)
    assert not storage.bitmaps(DISK).exists()


async def test_one_that_was_killed_before_it_ended_in_order_leaves_nothing(
    storage: MirrorStorage,
) -> None:
    await storage.closed([DISK])
    await storage.open([DISK])
    count(storage)

    assert not await kept(storage)
    await storage.open([DISK])
    await storage.closed([DISK])
    assert not await kept(storage)


async def test_another_file_than_that_of_the_end_is_not_believed(storage: MirrorStorage) -> None:
    count(storage)
    await storage.closed([DISK], {DISK.uuid})
    count(storage, b"Counted")
    assert not await kept(storage)
    storage.bitmaps(DISK).unlink()
    assert not await kept(storage)


async def test_after_a_foreign_write_it_is_not_believed(storage: MirrorStorage) -> None:
    count(storage)
    await storage.closed([DISK], {DISK.uuid})
    with Path(storage.real_path(DISK)).open("r+b") as file:
        file.write(b"a stranger")

    assert not await kept(storage)


async def test_whoever_else_may_write_ends_it(storage: MirrorStorage) -> None:
    count(storage)
    await storage.closed([DISK], {DISK.uuid})
    assert await storage.kept([msgspec.structs.replace(DISK, generation=4)]) == frozenset()
    await storage.serve(DISK, overwrite=False)
    await storage.closed([DISK])
    assert not await kept(storage)


async def test_a_change_of_state_or_generation_ends_it(storage: MirrorStorage) -> None:
    count(storage)
    await storage.closed([DISK], {DISK.uuid})
    await storage.mark(DISK, 3, ReplicaState.STALE, force=False)
    await storage.mark(DISK, 3, ReplicaState.IN_SYNC, force=False)
    assert not await kept(storage)


async def test_what_could_not_be_made_does_not_keep_a_replica_open(
    storage: MirrorStorage,
) -> None:
    storage.bitmaps(DISK).mkdir()
    await storage.closed([DISK], {DISK.uuid})

    assert (await storage.seen(DISK)).clean
    assert not await kept(storage)
