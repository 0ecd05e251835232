"""The machine's side of joining: asking the master's API for a certificate.

The CA's certificate is fetched first and compared with the token's fingerprint; the secret is
sent only over a connection that this CA vouches for. Blocking: ``gantry join`` is a program.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
from typing import Any, Final

import msgspec

from gantry.model import timeouts
from gantry.model.errors import ErrorInfo, GantryError, Reason, Rejected, Unavailable, from_info
from gantry.model.identity import Identity, Role
from gantry.rpc import certificates

CA_PATH: Final = "/gantry/1/ca"
JOIN_PATH: Final = "/gantry/1/join"
_MAX_ANSWER: Final = 1 << 20


class _Failure(msgspec.Struct, frozen=True):
    error: ErrorInfo


def fetch_ca(address: str, fingerprint: str) -> str:
    """The CA's certificate (PEM) from the API at ``host:port``; Rejected if it is another's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Nothing is known of the other side yet, and nothing secret is sent.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    text = _exchange(address, context, "GET", CA_PATH, b"").decode("ascii", "replace")
    try:
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()
    except ValueError:
        found = "no certificate"
    if found != fingerprint:
        raise Rejected(
            f"what answers at {address} is not the cluster that the token is of "
            f"(its CA has fingerprint {found}, the token {fingerprint})",
            "see whether the address in the token is the master's; the secret was not sent",
            reason=Reason.STATE,
        )
    return text


def ask(address: str, ca: str, cluster_request: bytes) -> bytes:
    """Send the request to join and return the body of the answer.

    Raises what the master said, or Unavailable where it does not answer.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    # The master may be reached by any name or address: who it is stands in its URI.
    context.check_hostname = False
    return _exchange(address, context, "POST", JOIN_PATH, cluster_request, check=True)


def own_address(address: str) -> str:
    """This machine's address on the way to the API."""
    connection = _connect(address, ssl.create_default_context(), secure=False)
    try:
        sock: Any = connection.sock
        own: str = sock.getsockname()[0]
        return own
    finally:
        connection.close()


def _connect(
    address: str, context: ssl.SSLContext, *, secure: bool = True
) -> http.client.HTTPConnection:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    made = (
        http.client.HTTPSConnection(host, int(port), timeout=timeouts.CONNECT, context=context)
        if secure
        else http.client.HTTPConnection(host, int(port), timeout=timeouts.CONNECT)
    )
    try:
        made.connect()
    except ssl.SSLCertVerificationError as error:
        raise Rejected(
            f"the API at {address} has no valid certificate of the cluster: {error.verify_message}",
            "on the master: gantry renew-certificates",
            reason=Reason.ENVIRONMENT,
        ) from error
    except OSError as error:
        raise _silent(address, error) from error
    sock: Any = made.sock
    sock.settimeout(timeouts.CLIENT_READ)
    return made


def _exchange(
    address: str,
    context: ssl.SSLContext,
    method: str,
    path: str,
    body: bytes,
    *,
    check: bool = False,
) -> bytes:
    connection = _connect(address, context)
    try:
        if check:
            _must_be_api(address, connection)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read(_MAX_ANSWER)
    except (OSError, http.client.HTTPException) as error:
        raise _silent(address, error) from error
    finally:
        connection.close()
    if response.status != 200:
        raise _failure(address, response.status, data)
    return data


def _must_be_api(address: str, connection: http.client.HTTPConnection) -> None:
    sock: Any = connection.sock
    who: Identity | None = certificates.identity(sock.getpeercert())
    if who is None or who.role is not Role.API:
        raise Rejected(
            f"what answers at {address} is not the cluster's master",
            "make a new token there",
            reason=Reason.STATE,
        )


def _failure(address: str, status: int, data: bytes) -> GantryError:
    try:
        return from_info(msgspec.json.decode(data, type=_Failure).error)
    except msgspec.MsgspecError:
        return Unavailable(f"the API at {address} answered with status {status}")


def _silent(address: str, error: Exception) -> Unavailable:
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return Unavailable(
        f"the API at {address} does not answer: {why}",
        "see whether the master runs and whether the address in the token can be reached from here",
    )
