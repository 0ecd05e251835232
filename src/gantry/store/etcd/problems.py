"""What the failures of one request mean: whose fault, whether to try again, what to say."""

from __future__ import annotations

import enum
import os
import ssl
from typing import Final

import aiohttp
import msgspec

from gantry.model.errors import Reason
from gantry.ports.store import StoreUnavailable
from gantry.store.etcd import wire

_UNKNOWN: Final = 2
_INVALID: Final = 3
_NOT_FOUND: Final = 5
_DENIED: Final = 7
_EXHAUSTED: Final = 8
_PRECONDITION: Final = 9
_OUT_OF_RANGE: Final = 11
_INTERNAL: Final = 13
_UNAVAILABLE: Final = 14
_UNAUTHENTICATED: Final = 16

NO_SPACE_HINT: Final = (
    "give etcd space again, member by member, then clear the alarm: etcdctl defrag,"
    " etcdctl alarm disarm (docs/store.md, NOSPACE); or raise its --quota-backend-bytes"
)


class Kind(enum.Enum):
    """What etcd refused a request for, as far as somebody acts upon it."""

    LEASE = "the lease is gone"
    COMPACTED = "the revision is compacted"
    FUTURE = "the revision is not there yet"
    TOKEN = "the login is over"  # noqa: S105 not a secret
    OTHER = "something else"


class Refused(Exception):
    """etcd's definite no: this request was not carried out, on no member."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Fault(Exception):
    """One endpoint did not answer as it should; another one may.

    ``lasting``: waiting does not help, somebody has to mend it.
    """

    def __init__(self, why: str, hint: str = "", *, lasting: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint
        self.lasting = lasting


def judged(status: int, body: bytes) -> Exception:
    """The error in an answer that is none of success."""
    try:
        problem = wire.decode(body, wire.Problem)
    except msgspec.MsgspecError:
        return _no_etcd(status, body)
    if not problem.message:
        return _no_etcd(status, body)
    return of_problem(problem.code, problem.message)


def of_problem(code: int, message: str) -> Exception:
    """etcd's own words as an error: Refused, Fault, or StoreUnavailable with what to do."""
    definite = {
        (_NOT_FOUND, "requested lease not found"): Kind.LEASE,
        (_OUT_OF_RANGE, "has been compacted"): Kind.COMPACTED,
        (_OUT_OF_RANGE, "is a future revision"): Kind.FUTURE,
        (_UNAUTHENTICATED, "invalid auth token"): Kind.TOKEN,
        (_INVALID, "revision in header is old"): Kind.TOKEN,
        (_INVALID, "user name is empty"): Kind.TOKEN,
    }
    for (known, words), kind in definite.items():
        if code == known and words in message:
            return Refused(kind, message)
    if code == _EXHAUSTED and "space exceeded" in message:
        return StoreUnavailable(
            "etcd takes no more writes: its database has reached its quota (NOSPACE)",
            NO_SPACE_HINT,
            reason=Reason.NO_RESOURCES,
        )
    if code == _DENIED:
        return StoreUnavailable(
            f"etcd's user may not do this ({message})",
            "give its role the rights to read and write below the prefix of store.json:"
            " etcdctl role grant-permission ROLE readwrite PREFIX --prefix=true",
            reason=Reason.ENVIRONMENT,
        )
    if code in (_UNKNOWN, _EXHAUSTED, _INTERNAL, _UNAVAILABLE):
        return Fault(message)
    return Refused(Kind.OTHER, message)


def of_connection(error: Exception) -> Fault:
    """What kept a request from being sent or answered."""
    closes = (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectorError)
    if isinstance(error, closes) and not _has_reason(error):
        return Fault(
            "it closes the connection",
            "if etcd speaks TLS, its address begins with https:, and otherwise with http:",
        )
    if isinstance(error, TimeoutError):
        return Fault("no answer in time")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _not_trusted(str(error.certificate_error))
    text = _root_cause(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return _not_trusted(text)
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return Fault("it does not speak TLS", "its address begins with http:", lasting=True)
    if "alert" in text.lower():
        return Fault(
            f"it refuses our client certificate ({text})",
            "give one from the CA that etcd trusts (--trusted-ca-file): --store-cert, --store-key",
            lasting=True,
        )
    return Fault(text)


def unavailable(faults: dict[str, Fault], seconds: float) -> StoreUnavailable:
    """No member answered; says of each why."""
    reasons = "; ".join(f"{url}: {fault.why}" for url, fault in faults.items())
    hints = dict.fromkeys(fault.hint for fault in faults.values() if fault.hint)
    lasting = all(fault.lasting for fault in faults.values())
    waited = "" if lasting else f" for {seconds:.0f} s"
    return StoreUnavailable(
        f"no member of etcd answers{waited} ({reasons})",
        "; ".join(hints)
        or "is etcd running on a majority of its machines, and reachable from here?",
        reason=Reason.ENVIRONMENT,
    )


def restoring() -> StoreUnavailable:
    """Somebody brings a copy back, or did not come to the end of that."""
    return StoreUnavailable(
        "the state in etcd is not whole: a copy is being brought back, or that was cut off",
        "wait for its end, or begin it again: gantry state restore",
        reason=Reason.STATE,
    )


def wrong_login(user: str, message: str) -> StoreUnavailable:
    """The name or the password is wrong."""
    return StoreUnavailable(
        f"etcd refuses the login of user {user} ({message})",
        "is the name right, and the password in its file? etcdctl user passwd sets a new one",
        reason=Reason.ENVIRONMENT,
    )


def needs_login() -> StoreUnavailable:
    """etcd has users, and none was named."""
    return StoreUnavailable(
        "etcd wants a user and a password",
        "name them: --store-user and --store-password-file of gnt-cluster init",
        reason=Reason.ENVIRONMENT,
    )


def _not_trusted(why: str) -> Fault:
    return Fault(
        f"its certificate is not trusted ({why})",
        "give the certificate of the CA that issued it: --store-ca; the certificate must name the"
        " host or address in the URL",
        lasting=True,
    )


def _no_etcd(status: int, body: bytes) -> Exception:
    text = body[:120].decode("ascii", "replace").strip()
    if status >= 500:
        return Fault(f"HTTP status {status}: {text}")
    return Fault(
        f"it does not answer as etcd does (HTTP status {status}: {text})",
        "is this etcd 3.4 or later, its client URL, and its JSON gateway on"
        " (--enable-grpc-gateway)?",
        lasting=True,
    )


def _has_reason(error: Exception) -> bool:
    """Whether the system or TLS has said why."""
    return isinstance(error, aiohttp.ClientConnectorError) and bool(str(error.os_error))


def _root_cause(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        return os.strerror(inner.errno) if inner.errno else str(inner)
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLError):
        return str(cause)
    return str(cause) or type(cause).__name__
