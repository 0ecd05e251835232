"""A directory that users without rights can get at: pytest's own are closed to them, and are
closed anew whenever somebody starts pytest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_place() -> Iterator[Path]:
    """They may look, and not write."""
    place = Path(tempfile.mkdtemp(prefix="gantry-open-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)
