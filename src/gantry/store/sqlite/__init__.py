"""The Store in one SQLite file: the default on one machine."""

from gantry.store.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
