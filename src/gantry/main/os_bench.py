"""OS definitions on this machine, without a cluster: what ``gnt-os`` asks of it."""

from __future__ import annotations

import os
from pathlib import Path

from gantry.cli.errors import Usage
from gantry.model.findings import Finding
from gantry.osdefs.lint import lint
from gantry.osdefs.search import search_directories
from gantry.osdefs.sources import read


class LocalOsBench:
    """Implements ``gantry.cli.os.bench.OsBench``."""

    def lint(self, directory: str, name: str) -> tuple[Finding, ...]:
        """What is wrong with a definition; Usage where there is none."""
        root = Path(os.environ.get("GANTRY_ROOT") or "/").absolute()
        try:
            return lint(read(_directory(directory), name, search_directories(root)))
        except OSError as error:
            raise Usage(f"{error.filename} cannot be read: {error.strerror}") from error


def _directory(name: str) -> Path:
    place = Path(name)
    if not place.is_dir():
        raise Usage(f"{name} is no directory", "give an OS definition: a directory with scripts")
    return place.absolute()
