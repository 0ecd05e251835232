"""The Store port: where the cluster's configuration and its jobs are kept durably.

It speaks etcd's model, so that every driver can be swapped for another: keys with
modification revisions, one global revision, compare-and-swap transactions, watches from a
revision, leases, compaction. No driver and no knowledge of what is stored belongs here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NewType, Protocol

import msgspec

from gantry.model.errors import Reason, Rejected, Unavailable

LeaseId = NewType("LeaseId", int)

MAX_VALUE_BYTES = 512 * 1024
MAX_KEY_BYTES = 1024
MAX_OPERATIONS = 100
# etcd refuses requests of more than 1.5 MiB; this leaves room for its framing.
MAX_TRANSACTION_BYTES = 1024 * 1024


class Item(msgspec.Struct, frozen=True):
    """One key as it is now; the revisions are those of its first and last put."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int


class Range(msgspec.Struct, frozen=True):
    """All items below a prefix, sorted by key, as they were at ``revision``."""

    revision: int
    items: tuple[Item, ...]


class Put(msgspec.Struct, frozen=True):
    """Set a key; a put without a lease detaches the key from the lease it had."""

    key: str
    value: bytes
    lease: LeaseId | None = None


class Delete(msgspec.Struct, frozen=True):
    """Remove a key; deleting a key that is not there does nothing and makes no event."""

    key: str


class Compare(msgspec.Struct, frozen=True):
    """Holds when the key was last put at ``mod_revision``; 0: when the key does not exist."""

    key: str
    mod_revision: int


class Event(msgspec.Struct, frozen=True):
    """One change of one key; ``value`` is None when the key was deleted."""

    key: str
    value: bytes | None
    revision: int


Operation = Put | Delete


class Conflict(Rejected):
    """A compare of a transaction did not hold; nothing of it was applied."""

    code = "conflict"

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(
            f"changed by somebody else meanwhile: {', '.join(keys)}",
            "read again and repeat",
            reason=Reason.STATE,
        )
        self.keys = tuple(keys)


class LimitExceeded(Rejected):
    """A transaction larger than the store's limits, or a key that is none; nothing applied."""

    code = "limit-exceeded"


class LeaseGone(Rejected):
    """The lease has expired or was revoked; nothing was applied."""

    code = "lease-gone"

    def __init__(self, lease: LeaseId) -> None:
        super().__init__(f"lease {lease:x} is gone", "grant a new one", reason=Reason.STATE)
        self.lease = lease


class Compacted(Unavailable):
    """The history asked for is gone up to ``revision``: range again and watch from there."""

    code = "compacted"

    def __init__(self, revision: int) -> None:
        super().__init__(
            f"the history up to revision {revision} is compacted",
            "read all keys again and watch from their revision",
        )
        self.revision = revision


class StoreUnavailable(Unavailable):
    """The store does not answer, or is closed; a write that was waiting may have happened."""

    code = "store-unavailable"


class StoreLocked(StoreUnavailable):
    """Another process has the store open."""

    code = "store-locked"


class StoreDamaged(StoreUnavailable):
    """The store's file cannot be read any more; the hint says how to get it back."""

    code = "store-damaged"

    def __init__(self, file: str, cause: str) -> None:
        super().__init__(
            f"the state file {file} is damaged ({cause})",
            "stop the master, bring back a copy with `gantry state restore`, start it again",
            reason=Reason.ENVIRONMENT,
            object_name=file,
        )
        self.file = file


class Lease(Protocol):
    """A promise to be alive: the keys put with it vanish when it is not renewed in time."""

    @property
    def id(self) -> LeaseId:
        """What ``Put.lease`` takes."""

    @property
    def ttl_seconds(self) -> float:
        """The time granted; a driver may grant more than was asked for."""

    async def keep_alive(self) -> None:
        """Start the whole time again; raises LeaseGone when it is over."""

    async def revoke(self) -> None:
        """End it now, its keys with it, in one transaction; a lease that is gone is no error."""


class Store(Protocol):
    """Keys are 1 to 1,024 printable ASCII characters without space, values bytes.

    Every method raises StoreUnavailable when the store cannot answer or is closed, and
    StoreDamaged when its file cannot be read.
    """

    @property
    def commits(self) -> int:
        """Transactions acknowledged to callers since opening, those without effect included."""

    @property
    def flushes(self) -> int:
        """Times the disk (or the servers) was waited for since opening."""

    async def get(self, key: str) -> Item | None:
        """The item, or None."""

    async def range(self, prefix: str) -> Range:
        """All items whose keys start with ``prefix`` ("" for all), at one revision."""

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """Apply all ``ops`` in order, if every compare holds, and answer the new revision.

        Durable when it returns. Transactions of several callers at once may be applied as one,
        in an order, and then have one revision. If nothing changed (no ops, or deletes of absent
        keys) the present revision is answered. Raises Conflict, LeaseGone, or LimitExceeded (more
        than 100 compares or ops, a value over 512 KiB, over 1 MiB in all, one key in two ops),
        each with nothing applied. Cancelling the caller does not take the transaction back.
        """

    def watch(self, prefix: str, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Every change below ``prefix`` after revision ``after``: in order, without a gap.

        Each answer is all of one revision's events below the prefix. Never ends by itself;
        raises Compacted when the history after ``after`` is not complete any more, also later,
        for a reader that fell behind a compaction. Close it with ``aclose()``.
        """

    async def grant(self, ttl_seconds: float) -> Lease:
        """A new lease; after a restart of the store leases run for their whole time again."""

    async def compact(self, revision: int) -> None:
        """Forget the history up to ``revision``: a watch after it or later still works."""

    async def close(self) -> None:
        """Let go of everything; waiting watches raise StoreUnavailable. Twice is no error."""
