"""The file of a node's ledger of hook scripts: its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS phases(
    id INTEGER PRIMARY KEY, outputs TEXT NOT NULL, size INTEGER NOT NULL, started REAL NOT NULL,
    "order" BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS phases_started ON phases(started);
CREATE TABLE IF NOT EXISTS failures(
    phase INTEGER PRIMARY KEY, run_id TEXT NOT NULL, after INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS failures_run_id ON failures(run_id);
CREATE TABLE IF NOT EXISTS runs(
    serial INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, phase INTEGER NOT NULL,
    started REAL NOT NULL, run BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_started ON runs(started);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT OR IGNORE INTO facts VALUES('ledger', lower(hex(randomblob(8))));
"""
"""``failures`` are the phases of fail scripts: of which operation, and after which serial."""


def opened(path: Path) -> apsw.Connection:
    """Made where there is none; apsw.Error where it cannot be opened, or is damaged."""
    database = apsw.Connection(str(path))
    path.chmod(0o600)
    database.set_busy_timeout(2000)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    # Mostly written at its end: SQLite would keep 2 MiB of it, of each agent in a process.
    database.execute("PRAGMA cache_size=-512")
    database.execute(_SCHEMA)
    return database


def last_serial(database: apsw.Connection) -> int:
    """That of the newest run; 0 where there never was one."""
    found = database.execute("SELECT seq FROM sqlite_sequence WHERE name='runs'").get
    return int(found or 0)


def one_run(database: apsw.Connection, run: str) -> tuple[bytes, bytes, str] | None:
    """The record of that id, the order that it was run by (packed), and where its outputs are."""
    sql = (
        'SELECT run, "order", outputs FROM runs JOIN phases ON phases.id = phase WHERE runs.id = ?'
    )
    found: tuple[bytes, bytes, str] | None = database.execute(sql, (run,)).fetchone()
    return found
