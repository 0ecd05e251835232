"""Where the files are that come with Gantry beside its code: OS definitions, sample hooks, tools.

In a clone they are at its top; an installed package has them in ``gantry/share``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import gantry
from gantry.model.errors import Reason, Rejected

_PACKAGE: Final = Path(gantry.__file__).resolve().parent


def shipped(path: str) -> Path:
    """A file or directory, such as ``os`` or ``packaging/guest-kernel``; Rejected if missing."""
    for base in (_PACKAGE / "share", _PACKAGE.parents[1]):
        found = base / path
        if found.exists():
            return found
    raise Rejected(
        f"this installation of Gantry lacks {path}",
        "install it again, or run it from a clone",
        reason=Reason.ENVIRONMENT,
    )
