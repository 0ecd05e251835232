"""A pushed OS definition: one link, so that a script finds the files of one version alone.

    srv/ganeti/os/.bundles/<name>/…   see ``bundle_files``
    srv/ganeti/os/<name>              a link to .bundles/<name>/current

Names that begin with a dot are no definitions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gantry.agent import tree
from gantry.agent.bundle_files import BundleFiles
from gantry.model import bundles

_DERIVED = "__pycache__"
"""What Python leaves beside a script: it is made of the bundle's files, and no drift."""


class Definition(BundleFiles):
    """The versions of one definition; ``base`` is the first directory of the search path."""

    directories_are_replaced = True

    def __init__(self, base: Path, name: str) -> None:
        super().__init__(bundles.of_os(name), base, base / bundles.UNPACKED / name)
        self._name = name

    def _leads_to(self, path: str) -> str:
        return f"{self._inside}/current"

    def _entries(self, top: Path) -> Iterator[tuple[str, Path]]:
        place = top / self._name
        if place.is_symlink() or place.exists():
            yield self._name, place

    def _added(self, sha256: str) -> Iterator[tuple[str, Path]]:
        known = {one.path for one in self._manifest(sha256)}
        if not known:
            return
        for path, place in tree.walk(self._own / sha256, bundles.MAX_DEPTH + 1):
            if path not in known and _DERIVED not in path.split("/"):
                yield path, place


def pushed(base: Path) -> list[str]:
    """The names of all definitions that were ever pushed to the node."""
    try:
        return sorted(place.name for place in (base / bundles.UNPACKED).iterdir() if place.is_dir())
    except OSError:
        return []
