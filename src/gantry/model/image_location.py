"""Where an image of a disk is: a path on the nodes, or a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from gantry.model import names
from gantry.model.errors import Rejected

OS_IMAGE: Final = "os-image"
"""The OS parameter that names an image, in place of a definition or beside it."""
_URL: Final = re.compile(r"(?:https?|ftp)://[^\s\x00-\x1f]+", re.ASCII)
_WHO: Final = re.compile(r"//[^/]*@")
_TARGET: Final = re.compile(
    # What every program reads in the same way: nobody's name, no characters that are taken for
    # others, no address that is written strangely.
    r"(https?)://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?=[/?#]|\Z)",
    re.ASCII,
)
_USER: Final = re.compile(r"([a-z]+://)([^/?#]*@)(.*)", re.DOTALL)
"""Name and password in the place where a URL has them."""
_PORTS: Final = {"http": 80, "https": 443}
_MIB: Final = 1 << 20
INSTALL_IMAGE: Final = 16 << 30
"""Bytes of an install image that is fetched."""


class Origin(NamedTuple):
    """Who answers at a URL."""

    scheme: str
    host: str
    port: int


def largest(disk: int) -> int:
    """Bytes of the largest file that can be an image for a disk of so many MiB.

    A qcow2 file without any holes is larger than what is in it: by a fiftieth, where its clusters
    are as small as they can be.
    """
    return (disk + disk // 16 + 16) * _MIB


def origin(url: str) -> Origin | None:
    """Of an http(s) URL that is written plainly; else None."""
    match = _TARGET.match(_parts(url)[1])
    if match is None:
        return None
    scheme, host, port = match.groups()
    return Origin(scheme, host.strip("[]").lower(), int(port) if port else _PORTS[scheme])


def redirected(url: str, target: str) -> str:
    """Where a server at ``url`` that names ``target`` sends whoever asks it; Rejected.

    The same server is asked with the same name and password, another one without.
    """
    before, after = origin(url), origin(target)
    (who, _), (other, plain) = _parts(url), _parts(target)
    if after is None or not is_url(target) or (other and after != before):
        raise Rejected(
            f"it redirects to {bare(without_password(target))!r}",
            "only redirects to plain http(s) URLs are followed",
        )
    if url.startswith("https:") and after.scheme != "https":
        raise Rejected(
            f"it redirects to {bare(plain)}, which is not encrypted",
            "redirects from https lead to https: give that URL itself, if it is to be trusted",
        )
    return plain.replace("//", f"//{who}", 1) if after == before else plain


def bare(url: str) -> str:
    """Without what stands behind a question mark: that may be as good as a password."""
    return url.partition("?")[0]


def _parts(url: str) -> tuple[str, str]:
    """Name and password (``NAME:PASSWORD@``, or nothing), and the URL without them."""
    match = _USER.match(url)
    return (match[2], match[1] + match[3]) if match else ("", url)


def check(text: str, what: str) -> str:
    """A URL, or an absolute path; or Rejected."""
    if is_url(text):
        return text
    try:
        return names.absolute_path(text, what)
    except Rejected as error:
        raise Rejected(
            error.message, "give an absolute path on the nodes, or an http(s) or ftp URL"
        ) from None


def public(text: str, what: str) -> str:
    """The same for what everybody may read: no name and password in a URL; or Rejected."""
    if has_password(text):
        raise Rejected(
            f"the URL that is {what} has a name and a password in it, which everybody could read",
            f"give it as a private parameter: --os-parameters-private {OS_IMAGE}=URL; for an "
            "install image copy the file to the nodes, and give its path",
        )
    return check(text, what)


def has_password(text: str) -> bool:
    """Whether it is a URL with a name, or a name and a password, in it."""
    return is_url(text) and bool(_parts(text)[0])


def private(text: str, what: str) -> str:
    """The same for what nobody may read: it is in no error. Rejected."""
    try:
        return check(text, what)
    except Rejected as error:
        raise Rejected(f"{what} is no image", error.hint) from None


def untold(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters without the image: a private one is none of the scripts' business."""
    return {name: value for name, value in parameters.items() if name != OS_IMAGE}


def is_url(text: str) -> bool:
    """Whether it is one that nodes can fetch."""
    return _URL.fullmatch(text) is not None


def shown(location: str) -> str:
    """As it may be shown: a URL without name, password, and what may be as good as one."""
    return bare(without_password(location)) if is_url(location) else location


def without_password(text: str) -> str:
    """A URL, or a text about one, without name and password."""
    return _WHO.sub("//", text)
