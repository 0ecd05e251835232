"""Copies of the cluster's state, whatever store it is in; all of one format.

``gantry state`` and the master's daily chore use this.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from gantry.jobs import codec
from gantry.jobs.codec import StoredEpoch
from gantry.jobs.election import LEAP
from gantry.main import store as stores
from gantry.main.store import StoreKind
from gantry.model.errors import Reason, Rejected
from gantry.ports.store import Item, Range, Store
from gantry.store import backup
from gantry.store.backup import Backup

DIRECTORY: Final = "var/lib/gantry/backups"


async def back_up(
    root: Path, directory: Path, taken: datetime, store: Store | None = None
) -> Backup:
    """Make a copy; a master runs or not. ``store`` is the master's own, where it is open.

    Raises StoreDamaged, StoreUnavailable, and Rejected where that second's copy is there.
    """
    if stores.kind(root) is StoreKind.SQLITE:
        return await asyncio.to_thread(backup.backup, root / stores.STATE, directory, taken)
    return await _of_etcd(root, directory, taken, store)


async def daily(root: Path, now: datetime, store: Store) -> None:
    """Make today's copy, unless it is there; keep a week of copies."""
    directory = root / DIRECTORY
    copies = await asyncio.to_thread(backup.list_backups, directory)
    if not backup.is_due(copies, now):
        return
    await back_up(root, directory, now, store)
    for old in backup.surplus(await asyncio.to_thread(backup.list_backups, directory)):
        await asyncio.to_thread(backup.remove, old)


async def restore(root: Path, file: Path, now: datetime) -> Path | None:
    """Bring a copy back; answers where what was there before is now, None where nothing was.

    Rejected or StoreLocked while a master runs, BackupDamaged, StoreUnavailable. In etcd what
    was begun and not ended is refused by whoever opens it, until it is repeated.
    """
    if stores.kind(root) is StoreKind.SQLITE:
        return await asyncio.to_thread(backup.restore, root / stores.STATE, file, now)
    from gantry.store.etcd.restoring import restore as restore_etcd
    from gantry.store.exchange import backup_items, read_items

    items = await asyncio.to_thread(read_items, file)
    if not items:
        raise Rejected(f"the copy {file} is of an empty state", reason=Reason.STATE)
    # Who is master is not of the copy. The epoch has a key of its own, and agents that are away
    # just now may have heard of higher ones than the copy.
    kept = [_leapt(item) for item in items if item.key != codec.ELECTION]
    aside: list[Path] = []

    async def keep(found: Range) -> None:
        made = await asyncio.to_thread(backup_items, found, root / DIRECTORY, now)
        aside.append(made.file)

    await restore_etcd(stores.access(root), kept, codec.ELECTION, keep)
    return aside[0] if aside else None


def _leapt(item: Item) -> Item:
    if item.key != codec.EPOCH:
        return item
    known = codec.decode(item.key, item.value, StoredEpoch)
    after = msgspec.structs.replace(known, epoch=known.epoch + LEAP)
    return msgspec.structs.replace(item, value=codec.encode(after))


async def _of_etcd(root: Path, directory: Path, taken: datetime, store: Store | None) -> Backup:
    from gantry.store.etcd import EtcdStore
    from gantry.store.exchange import backup_items

    opened = store if store is not None else await stores.open_store(root)
    try:
        assert isinstance(opened, EtcdStore)
        found = await opened.lasting()
    finally:
        if store is None:
            await opened.close()
    return await asyncio.to_thread(backup_items, found, directory, taken)
