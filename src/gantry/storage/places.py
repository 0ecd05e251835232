"""Where disks may lie: only in the directories that are allowed, whatever links lead out.

Nothing is created or removed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gantry.model import names
from gantry.model.errors import Rejected


def below(root: Path, path: str) -> Path:
    """A node's path on this machine: the root before it."""
    return root / path.lstrip("/")


def place(root: Path, directories: Sequence[str], path: str) -> Path:
    """Where ``path`` lies on this machine. Rejected outside of ``directories``.

    The last part may not be there yet; it is never followed where it is a link.
    """
    names.absolute_path(path, "the path of a disk")
    allowed = [each for each in directories if PurePosixPath(path).is_relative_to(each)]
    allowed = [each for each in allowed if path != each.rstrip("/")]
    if not allowed:
        raise Rejected(
            f"{path} is not in a directory for disks",
            "these are: " + (", ".join(directories) or "none"),
        )
    found = below(root, path)
    try:
        parent = found.parent.resolve()
        inside = any(parent.is_relative_to(below(root, each).resolve()) for each in allowed)
    except RuntimeError:
        raise Rejected(f"{path} leads into links in a circle", "remove them") from None
    if not inside:
        raise Rejected(f"{path} leads out of its directory to {parent}", "remove that link")
    if found.is_symlink():
        raise Rejected(f"{path} is a symbolic link", "a disk is a file; remove the link")
    return found
