"""The statements that only read, on a connection of their own; called in the event loop.

A get takes some 10 µs and a thousand items 2 ms, so that a thread would cost more than it
gives; the master reads everything once, when it starts.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from gantry.ports.store import Compacted, Event, Item, LeaseId, Range
from gantry.store.sqlite.schema import PLACES, translated

# Revisions of history read at once, so that a watch far behind does not fill the memory.
WINDOW = 256


class Page(NamedTuple):
    """A piece of history: the events of each transaction, and how far it reaches."""

    transactions: list[tuple[Event, ...]]
    reached: int
    latest: int


class Reader:
    """Consistent reads; a commit is seen once it is durable."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, key: str) -> Item | None:
        """The item, or None."""
        with translated(self._path):
            found = self._connection.execute(
                "SELECT key, value, created, modified FROM items WHERE key = ?", (key,)
            ).fetchall()
        rows = cast("list[tuple[str, bytes, int, int]]", found)
        return Item(*rows[0]) if rows else None

    def range(self, prefix: str) -> Range:
        """All items whose keys start with ``prefix``, at one revision."""
        with translated(self._path), self._connection:
            revision, _ = self._state()
            rows = self._connection.execute(
                "SELECT key, value, created, modified FROM items"
                " WHERE key >= ? AND key < ? ORDER BY key",
                (prefix, _end(prefix)),
            ).fetchall()
        return Range(revision, tuple(itertools.starmap(Item, rows)))

    def page(self, prefix: str, after: int) -> Page:
        """The next piece of history; raises Compacted when it is not complete any more."""
        with translated(self._path), self._connection:
            revision, compacted = self._state()
            if after < compacted:
                raise Compacted(compacted)
            reached = min(revision, after + WINDOW)
            found = self._connection.execute(
                "SELECT number, key, value FROM history"
                " WHERE number >= ? AND number < ? AND key >= ? AND key < ? ORDER BY number",
                ((after + 1) * PLACES, (reached + 1) * PLACES, prefix, _end(prefix)),
            ).fetchall()
        rows = cast("list[tuple[int, str, bytes | None]]", found)
        events = (Event(key, value, number // PLACES) for number, key, value in rows)
        transactions = [tuple(group) for _, group in itertools.groupby(events, _revision)]
        return Page(transactions, max(after, reached), revision)

    def leases(self) -> list[tuple[LeaseId, float]]:
        """All leases, and their times in seconds."""
        with translated(self._path):
            found = self._connection.execute("SELECT id, ttl_seconds FROM leases").fetchall()
        return cast("list[tuple[LeaseId, float]]", found)

    def _state(self) -> tuple[int, int]:
        revision, compacted = self._connection.execute("SELECT revision, compacted FROM state").get
        return revision, compacted


def _revision(event: Event) -> int:
    return event.revision


def _end(prefix: str) -> str:
    """The first string behind all keys that start with ``prefix``; keys are ASCII."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\x7f"
