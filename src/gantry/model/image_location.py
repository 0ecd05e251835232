"""Where an image of a disk is: a path on the nodes, or a URL."""

from __future__ import annotations

import re
from typing import Final

from gantry.model import names
from gantry.model.errors import Rejected

OS_IMAGE: Final = "os-image"
"""The OS parameter that names an image, in place of a definition or beside it."""
_URL: Final = re.compile(r"(?:https?|ftp)://[^\s\x00-\x1f]+", re.ASCII)
_WHO: Final = re.compile(r"//[^/]*@")


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


def is_url(text: str) -> bool:
    """Whether it is one that nodes can fetch."""
    return _URL.fullmatch(text) is not None


def without_password(text: str) -> str:
    """As it may be shown: a URL, or a text about one, without name and password."""
    return _WHO.sub("//", text)
