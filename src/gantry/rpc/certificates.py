"""TLS contexts for both ends, and reading what a certificate says, with ``ssl`` alone.

Certificates are made in ``gantry.pki``; nothing here needs ``cryptography``.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gantry.model.errors import Reason, Rejected
from gantry.model.identity import Identity, parse

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the times are checked by us, to say what is wrong.
_NO_CHECK_TIME: Final = 0x200000
EXPIRED_CODE: Final = 10
"""X509_V_ERR_CERT_HAS_EXPIRED."""


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Where the PEM files of one end are."""

    ca: Path
    certificate: Path
    key: Path


def server_context(files: Files) -> ssl.SSLContext:
    """For an agent: whoever calls must have a certificate of the cluster's CA.

    Whether it is still valid is left to the caller's ``expired``, which can say so in words.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= _NO_CHECK_TIME
    return context


def api_context(files: Files) -> ssl.SSLContext:
    """For the API: a client may have a certificate of the cluster's CA, or a password instead.

    TLS 1.2 is enough, for programs of the site's own. Whether a certificate is still valid is
    left to the API's gate, which can say so in words.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, files)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= _NO_CHECK_TIME
    return context


def client_context(files: Files) -> ssl.SSLContext:
    """For a master: the node's certificate must have the DNS name that is asked for."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, files)


def timeless_context(files: Files) -> ssl.SSLContext:
    """As ``client_context``, but expired certificates pass: only for finding out which."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    context.verify_flags |= _NO_CHECK_TIME
    return context


def _context(protocol: int, files: Files) -> ssl.SSLContext:
    try:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(files.certificate, files.key)
        context.load_verify_locations(files.ca)
    except (OSError, ssl.SSLError) as error:
        raise Rejected(
            f"the certificates in {files.certificate.parent} cannot be used: {error}",
            "on a node: join again (gantry token, gantry join); "
            "on the master: gantry renew-certificates",
            reason=Reason.ENVIRONMENT,
        ) from error
    return context


def identity(peer: Mapping[str, Any] | None) -> Identity | None:
    """Who the peer is, from ``getpeercert()``; None where it is nobody of ours."""
    for kind, value in (peer or {}).get("subjectAltName", ()):
        if kind == "URI":
            return parse(value)
    return None


def not_after(peer: Mapping[str, Any]) -> float:
    """When the peer's certificate ends, from ``getpeercert()``; seconds since 1970."""
    return float(ssl.cert_time_to_seconds(peer["notAfter"]))


def expiry(certificate: Path) -> float:
    """When the certificate in a PEM file ends, in seconds since 1970; Rejected if it is none."""
    try:
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        return _der_not_after(der)
    except (OSError, ValueError, IndexError) as error:
        raise Rejected(
            f"the certificate {certificate} cannot be read: {error}", reason=Reason.ENVIRONMENT
        ) from error


def in_words(seconds: float) -> str:
    """A time such as ``2026-11-20 15:50:48 UTC``."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def expired(whose: str, ended: float) -> Rejected:
    """What both ends say of a certificate that has ended."""
    return Rejected(
        f"the certificate of {whose} expired at {in_words(ended)}",
        "on the master: gantry renew-certificates",
        reason=Reason.ENVIRONMENT,
    )


def _der_not_after(der: bytes) -> float:
    """RFC 5280, section 4.1: the second time of TBSCertificate's validity."""
    _, body, _ = _element(der, 0)
    _, tbs, _ = _element(body, 0)
    position = 0
    tag, _, after = _element(tbs, 0)
    if tag == 0xA0:  # the version, which may be left out
        position = after
    for _ in range(3):  # serial number, signature algorithm, issuer
        position = _element(tbs, position)[2]
    _, validity, _ = _element(tbs, position)
    _, _, second = _element(validity, 0)
    tag, text, _ = _element(validity, second)
    form = "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ"
    moment = datetime.datetime.strptime(text.decode(), form)
    return moment.replace(tzinfo=datetime.UTC).timestamp()


def _element(data: bytes, start: int) -> tuple[int, bytes, int]:
    """Tag, content and end of the DER element at ``start``."""
    length, begin = data[start + 1], start + 2
    if length & 0x80:
        count = length & 0x7F
        length, begin = int.from_bytes(data[begin : begin + count], "big"), begin + count
    return data[start], data[begin : begin + length], begin + length
