"""A file that a guest has open becomes the primary's replica of a mirrored disk, as it is."""

from __future__ import annotations

import secrets
from pathlib import Path

from gantry.model.entities import ReplicaState
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import DiskSpec
from gantry.storage import kept_bitmaps, replica_record
from gantry.storage.file import MIB, beside
from gantry.storage.mirror import MirrorStorage
from gantry.storage.replica_record import ReplicaRecord


def take_over(storage: MirrorStorage, disk: DiskSpec) -> None:
    """Its record says so, and that it is open; durable. Again: it is so still.

    Rejected where the file has not the disk's size, which would be another one elsewhere.
    """
    path = Path(storage.real_path(disk))
    size = path.stat().st_size if path.is_file() else None
    if size != disk.size * MIB:
        has = "is not there" if size is None else f"has {size} bytes instead of {disk.size} MiB"
        raise Rejected(
            f"disk {disk.index} cannot be mirrored: {disk.path} {has}",
            "one that was grown and whose record was not is put right by gnt-instance grow-disk",
            reason=Reason.STATE,
        )
    kept_bitmaps.drop(storage.bitmaps(disk))
    opened = ReplicaRecord(
        disk=disk.uuid,
        generation=disk.generation,
        state=ReplicaState.IN_SYNC,
        size=disk.size,
        clean=False,
        written=True,
        content=secrets.token_hex(8),
    )
    replica_record.write(beside(path, replica_record.NAME), opened)
