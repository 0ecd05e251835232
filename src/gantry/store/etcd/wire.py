"""The JSON of etcd's gateway as data, as far as it is used; no decision belongs here.

etcd writes 64-bit numbers as strings and leaves zeros out, bytes are base64.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from gantry.ports.store import Item

A = TypeVar("A")

RANGE: Final = "/v3/kv/range"
TXN: Final = "/v3/kv/txn"
COMPACT: Final = "/v3/kv/compaction"
WATCH: Final = "/v3/watch"
GRANT: Final = "/v3/lease/grant"
KEEP_ALIVE: Final = "/v3/lease/keepalive"
REVOKE: Final = "/v3/lease/revoke"
TIME_TO_LIVE: Final = "/v3/lease/timetolive"
AUTHENTICATE: Final = "/v3/auth/authenticate"
STATUS: Final = "/v3/maintenance/status"
ALARM: Final = "/v3/maintenance/alarm"
MEMBERS: Final = "/v3/cluster/member/list"


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of what is sent."""


class Nothing(Request, frozen=True, omit_defaults=True):
    """A request without fields."""


class RangeRequest(Request, frozen=True, omit_defaults=True):
    """One key, or all from ``key`` to before ``range_end``; revision 0 is the present."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    keys_only: bool = False
    count_only: bool = False


class PutRequest(Request, frozen=True, omit_defaults=True):
    """Set one key; lease 0 is none."""

    key: bytes
    value: bytes
    lease: int = 0


class DeleteRequest(Request, frozen=True, omit_defaults=True):
    """Delete one key, or all from ``key`` to before ``range_end``."""

    key: bytes
    range_end: bytes = b""


class Op(Request, frozen=True, omit_defaults=True):
    """One of a transaction; exactly one is set."""

    request_range: RangeRequest | None = None
    request_put: PutRequest | None = None
    request_delete_range: DeleteRequest | None = None


class Comparison(Request, frozen=True, omit_defaults=True):
    """Equality of what ``target`` names; a key that is not there has revision 0."""

    key: bytes
    target: str
    mod_revision: int = 0
    value: bytes = b""


class TxnRequest(Request, frozen=True, omit_defaults=True):
    """``success`` where every comparison holds, otherwise ``failure``."""

    compare: tuple[Comparison, ...] = ()
    success: tuple[Op, ...] = ()
    failure: tuple[Op, ...] = ()


class CompactRequest(Request, frozen=True, omit_defaults=True):
    """Forget the history up to a revision."""

    revision: int


class WatchCreate(Request, frozen=True, omit_defaults=True):
    """Changes from ``start_revision`` on; large answers come in fragments."""

    key: bytes
    range_end: bytes
    start_revision: int
    fragment: bool = False
    progress_notify: bool = False


class WatchRequest(Request, frozen=True, omit_defaults=True):
    """What opens a watch."""

    create_request: WatchCreate


class GrantRequest(Request, frozen=True, omit_defaults=True):
    """Whole seconds."""

    TTL: int


class LeaseRequest(Request, frozen=True, omit_defaults=True):
    """Keep alive, revoke, or ask after."""

    ID: int


class Login(Request, frozen=True, omit_defaults=True):
    """A user's name and password."""

    name: str
    password: str


class AlarmRequest(Request, frozen=True, omit_defaults=True):
    """Ask for all alarms."""

    action: str


class Header(msgspec.Struct, frozen=True):
    """Of every answer: the revision and the term of that moment, and which member it was."""

    revision: int = 0
    raft_term: int = 0
    member_id: int = 0


class KeyValue(msgspec.Struct, frozen=True):
    """A key; in the event of a deletion ``mod_revision`` is the deletion's."""

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0


class RangeAnswer(msgspec.Struct, frozen=True):
    """``more``: the limit cut it off."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False
    count: int = 0


class OpAnswer(msgspec.Struct, frozen=True):
    """Of the operations of a transaction only those that read are looked at."""

    response_range: RangeAnswer | None = None


class TxnAnswer(msgspec.Struct, frozen=True):
    """What was done is said by ``succeeded``."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[OpAnswer, ...] = ()

    def ranges(self) -> list[RangeAnswer]:
        """The answers of those that read, in their order."""
        return [each.response_range for each in self.responses if each.response_range is not None]


class Done(msgspec.Struct, frozen=True):
    """An answer of which nothing is used."""

    header: Header = Header()


class GrantAnswer(msgspec.Struct, frozen=True):
    """The lease and the seconds that it got."""

    ID: int
    TTL: int = 0
    header: Header = Header()


class KeptAlive(msgspec.Struct, frozen=True):
    """TTL 0: the lease is gone."""

    TTL: int = 0
    header: Header = Header()


class KeepAliveAnswer(msgspec.Struct, frozen=True):
    """The one answer of the stream."""

    result: KeptAlive


class TimeToLive(msgspec.Struct, frozen=True):
    """TTL -1: there is no such lease."""

    TTL: int = 0
    header: Header = Header()


class Token(msgspec.Struct, frozen=True):
    """What a login gives."""

    token: str = ""


class WatchEvent(msgspec.Struct, frozen=True):
    """``type`` is PUT (left out) or DELETE."""

    kv: KeyValue
    type: str = "PUT"


class WatchAnswer(msgspec.Struct, frozen=True):
    """Events, the word that the watch is made, that it was cancelled, or only a revision."""

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: tuple[WatchEvent, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """A refusal; ``code`` is gRPC's. In a stream it is an object, in an answer a text."""

    message: str = ""
    code: int = 0
    grpc_code: int = 0


class WatchLine(msgspec.Struct, frozen=True):
    """One line of the stream."""

    result: WatchAnswer | None = None
    error: Problem | None = None


class Status(msgspec.Struct, frozen=True):
    """Of one member; sizes in bytes."""

    header: Header = Header()
    version: str = ""
    dbSize: int = 0  # noqa: N815 etcd's names
    dbSizeInUse: int = 0  # noqa: N815
    leader: int = 0
    errors: tuple[str, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """A member of the cluster, whether it lives or not."""

    ID: int
    name: str = ""
    clientURLs: tuple[str, ...] = ()  # noqa: N815


class MembersAnswer(msgspec.Struct, frozen=True):
    """All members."""

    members: tuple[Member, ...] = ()


class Alarm(msgspec.Struct, frozen=True):
    """``alarm`` is NOSPACE or CORRUPT."""

    memberID: int = 0  # noqa: N815
    alarm: str = ""


class AlarmAnswer(msgspec.Struct, frozen=True):
    """All alarms."""

    alarms: tuple[Alarm, ...] = ()


def decode(data: bytes, kind: type[A]) -> A:
    """Raises msgspec.MsgspecError where it is not what etcd sends."""
    return msgspec.json.decode(data, type=kind, strict=False)


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that start with ``prefix``, which is ASCII and not empty."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def item(found: KeyValue, prefix: bytes) -> Item:
    """An item of the port, its key without the prefix of all keys."""
    key = found.key[len(prefix) :].decode()
    return Item(key, found.value, found.create_revision, found.mod_revision)
