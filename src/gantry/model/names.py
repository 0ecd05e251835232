"""Names and identifiers, and what makes one valid.

Everything that a user, a script or a guest sends and that ends up in a path, a
command or a key passes one of these functions at the edge.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from gantry.model.errors import Reason, Rejected

Uuid = NewType("Uuid", str)
"""A random uuid, lower case with dashes; of any object."""
JobId = NewType("JobId", int)

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_NAME_LIKE: Final = re.compile(r"[a-z0-9](?:\.?[a-z0-9-])*")
_OS_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+(?:\+[a-zA-Z0-9_.-]+)?")
_TAG: Final = re.compile(r"[\w.+*/:@-]{1,128}", re.ASCII)
_PLAIN: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_PARAMETER: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

MAX_TAGS: Final = 4096


def host_name(text: str, what: str) -> str:
    """``text`` as a host name in lower case, or Rejected; ``what`` names its role."""
    name = text.strip().removesuffix(".").lower()
    last = name.rpartition(".")[2]
    if len(name) > 253 or not _HOST_NAME.fullmatch(name) or last.isdigit():
        raise Rejected(
            f"{text!r} cannot be {what}: it is not a host name",
            "use letters, digits, dashes and dots, such as web1.example.com",
        )
    return name


def os_name(text: str) -> str:
    """A full OS name, ``name`` or ``name+variant``, or Rejected."""
    if not _OS_NAME.fullmatch(text):
        raise Rejected(
            f"{text!r} is not the name of an OS definition",
            "see gnt-os list; a name has letters, digits, _ and -, and may end in +VARIANT",
        )
    return text


def log_part(text: str) -> str:
    """A part of a log's file name made of host names (``old-new``, ``web1-disk0``), or Rejected."""
    if len(text) > 600 or not _HOST_NAME_LIKE.fullmatch(text):
        raise Rejected(f"{text!r} cannot be part of the name of a log")
    return text


def tag(text: str) -> str:
    """One tag (at most 128 characters of letters, digits and ``.+*/:@-_``), or Rejected."""
    if not _TAG.fullmatch(text):
        raise Rejected(
            f"{text!r} is not a valid tag",
            "a tag has 1 to 128 characters: letters, digits and . + * / : @ - _",
        )
    return text


def plain(text: str, what: str) -> str:
    """A name of a disk, NIC, group or network, or Rejected."""
    if not _PLAIN.fullmatch(text):
        raise Rejected(
            f"{text!r} cannot be {what}",
            "use letters, digits, dots, dashes and underscores",
        )
    return text


def parameter(text: str, what: str = "a parameter") -> str:
    """The name of a parameter, or Rejected."""
    if not _PARAMETER.fullmatch(text):
        raise Rejected(f"{text!r} cannot be the name of {what}")
    return text


def mac_address(text: str) -> str:
    """A unicast MAC address in lower case, or Rejected."""
    address = text.strip().lower()
    if not _MAC.fullmatch(address):
        raise Rejected(f"{text!r} is not a MAC address", "such as aa:00:00:12:34:56")
    if int(address[:2], 16) & 1:
        raise Rejected(f"{text!r} is a multicast address", "the first byte must be even")
    return address


def is_uuid(text: str) -> bool:
    """Whether ``text`` has the form of a uuid."""
    return _UUID.fullmatch(text) is not None


def absolute_path(text: str, what: str) -> str:
    """A clean absolute path: no ``..``, no doubled slash, no NUL or line end; or Rejected."""
    parts = text.split("/")
    bad = (
        not text.startswith("/")
        or any(part in ("", ".", "..") for part in parts[1:])
        or any(ord(character) < 32 for character in text)
    )
    if bad:
        raise Rejected(
            f"{text!r} cannot be {what}",
            "give an absolute path without . or .. in it",
            reason=Reason.INPUT,
        )
    return text
