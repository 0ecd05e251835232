"""Where an etcd cluster is and how to log in there; nothing here connects."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gantry.model.errors import Reason, Rejected

DEFAULT_PREFIX: Final = "/gantry/"
MAX_PREFIX_BYTES: Final = 128


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs; secrets are named by their files and read when they are used.

    ``endpoints`` are the members' client URLs; all keys are below ``prefix``, which ends in a
    slash. ``password_file`` holds one line.
    """

    endpoints: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password_file: Path | None = None


def check(access: Access) -> None:
    """Rejected where the values cannot be meant; looks at no file."""
    if not access.endpoints:
        raise Rejected("no address of etcd was given", "etcd=https://HOST:2379[,URL...]")
    for url in access.endpoints:
        _check_url(url)
    if len(set(access.endpoints)) != len(access.endpoints):
        raise Rejected("an address of etcd was given twice")
    if len({urlsplit(url).scheme for url in access.endpoints}) > 1:
        raise Rejected("either all addresses of etcd begin with https, or none")
    if (access.certificate is None) != (access.key is None):
        raise Rejected("a client certificate for etcd needs its key, and a key its certificate")
    if (access.user is None) != (access.password_file is None):
        raise Rejected("a user of etcd needs a password file, and a password file its user")
    if access.certificate is not None and not access.endpoints[0].startswith("https:"):
        raise Rejected("a client certificate needs addresses that begin with https")
    _check_prefix(access.prefix)


def tls(access: Access) -> ssl.SSLContext | None:
    """The context for https, None for http; Rejected names the file that cannot be used."""
    if not access.endpoints[0].startswith("https:"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if access.ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(access.ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(access.ca, "the CA certificate", error) from None
    if access.certificate is not None and access.key is not None:
        try:
            # Without the callable a key with a passphrase would ask the terminal.
            context.load_cert_chain(access.certificate, access.key, password=str)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(
                access.certificate, "the client certificate or its key", error
            ) from None
    return context


def password(access: Access) -> str:
    """The user's password, read from its file; Rejected where that cannot be."""
    if access.password_file is None:
        return ""
    try:
        return access.password_file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(access.password_file, "the password of etcd's user", error) from None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Rejected(f"{url!r} is no address of etcd", "as in https://etcd1.example.com:2379")
    if parts.username is not None or parts.password is not None:
        raise Rejected(
            "an address of etcd must not hold a user or password",
            "give them with --store-user and --store-password-file",
        )


def _check_prefix(prefix: str) -> None:
    plain = prefix.isascii() and prefix.isprintable() and " " not in prefix
    if not plain or not prefix.endswith("/") or not 2 <= len(prefix) <= MAX_PREFIX_BYTES:
        raise Rejected(
            f"{prefix!r} cannot be the prefix of keys in etcd",
            f"2 to {MAX_PREFIX_BYTES} printable ASCII characters without space, a slash at the end",
        )


def _unusable(path: Path, what: str, error: Exception) -> Rejected:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Rejected(
        f"{what}, {path}, cannot be used: {why}",
        "give a file in PEM format that this user can read" if what.startswith("the C") else "",
        reason=Reason.ENVIRONMENT,
        object_name=str(path),
    )
