"""The statements that change the file; used by the writer's thread only.

A group of changes is one SQLite transaction: ``begin``, any number of changes, ``commit``.
A change that is refused (Conflict, LeaseGone) has touched nothing; any other error spoils the
whole group, which is then rolled back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import apsw

from gantry.ports.store import Compare, Conflict, Delete, LeaseGone, LeaseId, Operation, Put
from gantry.store.sqlite.schema import PLACES

_PUT = """
INSERT INTO items VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (key)
DO UPDATE SET value = excluded.value, modified = excluded.modified, lease = excluded.lease
"""


class Ledger:
    """The writing connection, and the revision inside the group that is open."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._state = (0, 0)
        self._changes_before = 0
        self.revision = 0
        self.compacted = 0
        self.history_bytes = self._measure()
        """Of the values in the history; what was rolled back may be counted too."""

    def begin(self) -> None:
        """Open a group."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._state = self._connection.execute("SELECT revision, compacted FROM state").get
        self.revision, self.compacted = self._state
        self._changes_before = self._connection.total_changes()

    def commit(self) -> bool:
        """Close the group; durable when it returns. Answers whether there was anything to do."""
        state = (self.revision, self.compacted)
        if state != self._state:
            self._connection.execute("UPDATE state SET revision = ?, compacted = ?", state)
        changed = self._connection.total_changes() != self._changes_before
        self._connection.execute("COMMIT")
        return changed

    def rollback(self) -> None:
        """Forget the group, if SQLite has not done so by itself."""
        if self._connection.in_transaction:
            # What made the rollback necessary is reported, and the next group meets it again.
            with contextlib.suppress(apsw.Error):
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def apply(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """One transaction of the port, its limits checked before."""
        conflicts = [each.key for each in compare if self._modified(each.key) != each.mod_revision]
        if conflicts:
            raise Conflict(conflicts)
        for each in ops:
            if isinstance(each, Put) and each.lease is not None:
                self._check_lease(each.lease)
        return self._change(ops)

    def grant(self, lease: LeaseId, ttl_seconds: float) -> None:
        """Remember a lease."""
        self._connection.execute("INSERT INTO leases VALUES (?, ?)", (lease, ttl_seconds))

    def end_lease(self, lease: LeaseId) -> None:
        """Delete a lease with its keys, in one revision."""
        rows = self._connection.execute(
            "SELECT key FROM items WHERE lease = ? ORDER BY key", (lease,)
        ).fetchall()
        self._change([Delete(str(key)) for (key,) in rows])
        self._connection.execute("DELETE FROM leases WHERE id = ?", (lease,))

    def compact(self, revision: int) -> None:
        """Drop the history up to ``revision``, or all there is."""
        revision = min(revision, self.revision)
        if revision > self.compacted:
            self._connection.execute(
                "DELETE FROM history WHERE number < ?", ((revision + 1) * PLACES,)
            )
            self.compacted = revision

    def shrink(self, most: int) -> None:
        """Drop the oldest history until its values have no more than ``most`` bytes."""
        self.history_bytes = self._measure()
        revision = self.compacted
        for number, size in self._connection.execute(
            "SELECT number, coalesce(length(value), 0) FROM history ORDER BY number"
        ):
            # Only whole transactions go.
            if self.history_bytes <= most and number // PLACES > revision:
                break
            revision = number // PLACES
            self.history_bytes -= size
        self.compact(revision)

    def _measure(self) -> int:
        found = self._connection.execute("SELECT total(length(value)) FROM history").get
        return int(found)

    def _change(self, ops: Sequence[Operation]) -> int:
        revision = self.revision + 1
        number = first = revision * PLACES
        for each in ops:
            value = None
            if isinstance(each, Put):
                value = each.value
                self.history_bytes += len(value)
                self._connection.execute(_PUT, (each.key, value, revision, each.lease))
            elif not self._delete(each.key):
                continue
            self._connection.execute(
                "INSERT INTO history VALUES (?, ?, ?)", (number, each.key, value)
            )
            number += 1
        if number > first:
            self.revision = revision
        return self.revision

    def _delete(self, key: str) -> bool:
        self._connection.execute("DELETE FROM items WHERE key = ?", (key,))
        return self._connection.changes() > 0

    def _modified(self, key: str) -> int:
        row = self._connection.execute("SELECT modified FROM items WHERE key = ?", (key,)).get
        return int(row or 0)

    def _check_lease(self, lease: LeaseId) -> None:
        if self._connection.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).get is None:
            raise LeaseGone(lease)
