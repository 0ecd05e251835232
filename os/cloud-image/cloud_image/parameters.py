"""The parameters, checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from guest.inputs import (
    Fault,
    check,
    network_faults,
    package_faults,
    password_faults,
    settings,
    ssh_key_faults,
    variable,
)
from guest.keep import default_directory

SEEDS = ("auto", "partition", "disk", "none")
_DEFINITION = Path(__file__).resolve().parents[1]
_CHECKSUM = re.compile(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{128}")
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,2000}")
_MARKS = ("#cloud-config", "#!", "#include", "#cloud-boothook", "#part-handler", "## template:")
_LONGEST = 65536


@dataclass(frozen=True)
class Settings:
    """What the node's administrator has set."""

    images: tuple[str, ...]
    cache: Path
    cache_bytes: int
    fetch_timeout: int
    proxy: str


def node_settings() -> Settings:
    """The settings of the definition, and of this node."""
    defaults = {"IMAGES": "", "CACHE": "", "CACHE_MIB": "20480", "FETCH_TIMEOUT": "60", "PROXY": ""}
    files = (_DEFINITION / "settings", Path("/etc/default/gantry-os-cloud-image"))
    found = settings(defaults, *files)
    for name in ("CACHE_MIB", "FETCH_TIMEOUT"):
        if not re.fullmatch(r"[1-9][0-9]{0,8}", found[name]):
            raise Fault(f"the setting {name}={found[name]} is not a number of at least 1")
    return Settings(
        images=tuple(found["IMAGES"].split(":")) if found["IMAGES"] else (),
        cache=Path(found["CACHE"]) if found["CACHE"] else default_directory("cloud-image"),
        cache_bytes=int(found["CACHE_MIB"]) << 20,
        fetch_timeout=int(found["FETCH_TIMEOUT"]),
        proxy=found["PROXY"],
    )


def is_url(image: str) -> bool:
    """Whether the image is to be fetched."""
    return "://" in image


def check_parameters() -> None:
    """Fault with all that is wrong."""
    check(_faults())


def _faults() -> Iterator[str]:
    if variable("OS_VARIANT"):
        yield f"there is no variant {variable('OS_VARIANT')!r}: this OS has none"
    yield from _image_faults(variable("OSP_IMAGE"), variable("OSP_CHECKSUM"))
    yield from _user_data_faults(variable("OSP_USER_DATA"))
    yield from ssh_key_faults()
    yield from password_faults()
    yield from package_faults()
    yield from network_faults()
    seed = variable("OSP_SEED")
    if seed and seed not in SEEDS:
        yield f"parameter seed: {seed[:40]!r} is not known; give {', '.join(SEEDS)}"


def _image_faults(image: str, checksum: str) -> Iterator[str]:
    if checksum and not _CHECKSUM.fullmatch(checksum):
        yield (
            "parameter checksum: this is neither a SHA-256 (64 hexadecimal digits) nor a "
            "SHA-512 (128); give what 'sha256sum FILE' says"
        )
    if not image:
        return
    if is_url(image):
        yield from _url_faults(image)
        if not checksum:
            yield (
                "parameter checksum: missing; an image that is fetched needs one, see the file "
                "SHA256SUMS or SHA512SUMS beside it"
            )
    elif not image.startswith("/") or any(ord(letter) < 32 for letter in image):
        yield (
            f"parameter image: {image[:200]!r} is neither an absolute path nor a URL of http or "
            "https"
        )


def _url_faults(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        wrong = not _URL.fullmatch(url) or not parts.hostname or (parts.port or 80) > 65535
    except ValueError:
        wrong = True
    if wrong:
        yield f"parameter image: {url[:200]!r} is not a URL of http or https"
    elif "@" in parts.netloc:
        yield "parameter image: a URL with a user or a password is refused, as it would be logged"


def _user_data_faults(text: str) -> Iterator[str]:
    if not text:
        return
    if len(text.encode("utf-8", "surrogateescape")) > _LONGEST:
        yield f"parameter user-data: more than {_LONGEST} bytes; let it '#include' a URL"
    mime = text.startswith(("Content-Type:", "MIME-Version:"))
    if not (mime or text.startswith(_MARKS)):
        yield (
            "parameter user-data: its first line is none that cloud-init knows; begin it with "
            "'#cloud-config' or '#!/bin/sh'"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        yield "parameter user-data: it is not UTF-8 text"
