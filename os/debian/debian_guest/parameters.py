"""The parameters and the node's settings, checked."""

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

VARIANTS = ("bookworm", "trixie")
_DEFINITION = Path(__file__).resolve().parents[1]
_URI = re.compile(r"https?://[A-Za-z0-9._~:/\[\]%+-]{1,500}")
_SIZE = re.compile(r"([1-9][0-9]{0,8})([mg]?)(i?b)?", re.IGNORECASE)
_PROXY = re.compile(r"https?://[A-Za-z0-9._:@/\[\]-]{1,300}")


@dataclass(frozen=True)
class Settings:
    """What the node's administrator has set."""

    cache: Path
    cache_bytes: int
    cache_seconds: int
    keyring: str
    proxy: str


def node_settings() -> Settings:
    """The settings of the definition, and of this node."""
    defaults = {
        "CACHE": "",
        "CACHE_MIB": "10240",
        "CACHE_DAYS": "30",
        "KEYRING": "/usr/share/keyrings/debian-archive-keyring.gpg",
        "PROXY": "",
    }
    files = (_DEFINITION / "settings", Path("/etc/default/gantry-os-debian"))
    found = settings(defaults, *files)
    for name in ("CACHE_MIB", "CACHE_DAYS"):
        if not re.fullmatch(r"[1-9][0-9]{0,8}", found[name]):
            raise Fault(f"the setting {name}={found[name]} is not a number of at least 1")
    if not re.fullmatch(r"/[A-Za-z0-9._/+-]+", found["KEYRING"]):
        raise Fault(f"the setting KEYRING={found['KEYRING']} is not a plain path")
    if found["PROXY"] and not _PROXY.fullmatch(found["PROXY"]):
        raise Fault(f"the setting PROXY={found['PROXY']} is not a URL of http or https")
    return Settings(
        cache=Path(found["CACHE"]) if found["CACHE"] else default_directory("debian"),
        cache_bytes=int(found["CACHE_MIB"]) << 20,
        cache_seconds=int(found["CACHE_DAYS"]) * 86400,
        keyring=found["KEYRING"],
        proxy=found["PROXY"],
    )


def root_mebibytes() -> int:
    """The parameter ``root-size``, or 0 for all of the disk."""
    found = _SIZE.fullmatch(variable("OSP_ROOT_SIZE"))
    if not found:
        return 0
    return int(found[1]) * (1024 if found[2].lower() == "g" else 1)


def check_parameters() -> None:
    """Fault with all that is wrong."""
    check(_faults())


def _faults() -> Iterator[str]:
    variant = variable("OS_VARIANT")
    if variant not in VARIANTS:
        yield f"there is no variant {variant!r}; there are {', '.join(VARIANTS)}"
    yield from _uri_faults("mirror", variable("OSP_MIRROR"))
    if variable("OSP_SECURITY_MIRROR") != "none":
        yield from _uri_faults("security-mirror", variable("OSP_SECURITY_MIRROR"))
    yield from package_faults()
    yield from ssh_key_faults()
    yield from password_faults()
    yield from network_faults()
    size = variable("OSP_ROOT_SIZE")
    if size and not _SIZE.fullmatch(size):
        yield f"parameter root-size: {size[:40]!r} is not a size; give MiB, or for example 2g"
    elif size and root_mebibytes() < 512:
        yield f"parameter root-size: {root_mebibytes()} MiB are too few; give at least 512"


def _uri_faults(name: str, uri: str) -> Iterator[str]:
    if not uri:
        return
    try:
        right = bool(_URI.fullmatch(uri)) and bool(urlsplit(uri).hostname)
    except ValueError:
        right = False
    if not right:
        yield (
            f"parameter {name}: {uri[:200]!r} is not a URI of http or https without a password; "
            "give for example http://deb.debian.org/debian"
        )
