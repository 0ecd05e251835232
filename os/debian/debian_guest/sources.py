"""Where packages come from: the parameters, or what apt of the node has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guest import programs
from guest.inputs import Fault, variable

MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
_RELEASES = frozenset(
    [
        *("bullseye", "bookworm", "trixie", "forky", "duke", "sid"),
        *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
    ]
)
_SECONDS = 30.0


@dataclass(frozen=True)
class Source:
    """One suite of one archive."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def security(self) -> bool:
        """Whether it has the security updates of a release of Debian."""
        return self.suite.endswith(("-security", "/updates")) and self._release in _RELEASES

    @property
    def main(self) -> bool:
        """Whether it is a release of Debian itself."""
        return self.suite in _RELEASES and "main" in self.components

    @property
    def _release(self) -> str:
        return re.split("[-/]", self.suite)[0]


def sources_of(apt: Path) -> Iterator[Source]:
    """All sources of a directory such as /etc/apt, in apt's order, http and https alone."""
    parts = apt / "sources.list.d"
    files = [apt / "sources.list"]
    if parts.is_dir():
        files += sorted(parts.iterdir())
    for file in files:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        text = file.read_text("utf-8", "replace")
        found = _stanzas(text) if file.suffix == ".sources" else _lines(text)
        for source in found:
            if re.match(r"https?://[^@\s]+\Z", source.uri):
                yield source


def _lines(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if found:
            yield Source(found[1], found[2], tuple(found[3].split()))


def _stanzas(text: str) -> Iterator[Source]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = _fields(stanza)
        off = fields.get("enabled", "yes").lower() in ("no", "false", "0")
        if off or "deb" not in fields.get("types", "").split():
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri, suite, components)


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = fields.get(name, "") + " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def archives(apt: Path = Path("/etc/apt")) -> tuple[str, str]:
    """The URIs of the archive and of its security updates; the latter may be empty: none."""
    known = list(sources_of(apt))
    mirror = variable("OSP_MIRROR") or next((one.uri for one in known if one.main), MIRROR)
    security = variable("OSP_SECURITY_MIRROR")
    if security == "none":
        return mirror.rstrip("/"), ""
    if not security:
        security = next((one.uri for one in known if one.security), SECURITY)
    return mirror.rstrip("/"), security.rstrip("/")


def suites(variant: str, mirror: str, security: str) -> list[tuple[str, str]]:
    """URI and suite of all that the guest is to get its packages from."""
    found = [(mirror, variant), (mirror, f"{variant}-updates")]
    if security:
        found.append((security, f"{variant}-security"))
    return found


def proxy() -> str:
    """The proxy that apt of the node uses, empty if none."""
    if shutil.which("apt-config") is None:
        return ""
    argv = ["apt-config", "--format", "%v%n", "dump", "Acquire::http::Proxy"]
    try:
        said = programs.run(argv, timeout=_SECONDS).decode(errors="replace").strip()
    except Fault:
        return ""
    return said if re.fullmatch(r"https?://[A-Za-z0-9._:@/\[\]-]{1,300}", said) else ""
