"""An image for installation guests, as ``packaging/install-image`` builds it; made once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

_PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
_SOURCES = ("install-image", "install-runner", "guest-kernel")


def made_install_image() -> Path:
    """The image; built where there is none, or an older one, with busybox alone."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    image = Path(cache) / "gantry" / "install-small.img"
    newest = max((_PACKAGING / each).stat().st_mtime for each in _SOURCES)
    if image.exists() and image.stat().st_mtime > newest:
        return image
    image.parent.mkdir(parents=True, exist_ok=True)
    argv = [str(_PACKAGING / "install-image"), "--small", str(image)]
    made = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    if made.returncode != 0:
        pytest.fail(f"no install image: {made.stderr}", pytrace=False)
    return image
