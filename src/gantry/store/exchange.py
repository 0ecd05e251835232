"""State files made of items, and items read from state files: how copies change stores.

So a copy of a state in etcd is of the same format as that of a file, and either can be brought
back into the other. Blocking functions. What a lease holds is in no copy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import cast

import apsw

from gantry.ports.store import Item, Range
from gantry.store.backup import Backup, backup, verify
from gantry.store.sqlite.schema import connect, prepare, translated


def backup_items(found: Range, directory: Path, taken: datetime) -> Backup:
    """Write a copy of these items, as ``backup`` does of a file; raises what that raises."""
    with translated(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, suffix=".partial") as work:
            state = Path(work) / "state"
            state.touch(mode=0o600)
            _write(state, found)
            return backup(state, directory, taken)


def read_items(file: Path) -> tuple[Item, ...]:
    """The items of a copy; raises BackupDamaged where it is not what its record says."""
    verify(file)
    with translated(file):
        connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            rows = connection.execute(
                "SELECT key, value, created, modified FROM items WHERE lease IS NULL ORDER BY key"
            ).fetchall()
        finally:
            connection.close()
    return tuple(Item(*row) for row in cast("list[tuple[str, bytes, int, int]]", rows))


def _write(state: Path, found: Range) -> None:
    connection = connect(state)
    try:
        prepare(connection, state, create=True)
        with connection:
            connection.executemany(
                "INSERT INTO items VALUES (?, ?, ?, ?, NULL)", _rows(found.items)
            )
            # There is no history: nobody can watch from before.
            connection.execute(
                "UPDATE state SET revision = ?, compacted = ?", (found.revision, found.revision)
            )
    finally:
        connection.close()


def _rows(items: Iterable[Item]) -> Iterable[tuple[str, bytes, int, int]]:
    return ((each.key, each.value, each.create_revision, each.mod_revision) for each in items)
