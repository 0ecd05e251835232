"""Orders and questions about the bundles of a node; ``target``: see ``gantry.model.bundles``."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from gantry.model.asking import Nothing, Order, Question
from gantry.model.bundles import HOOKS


class BundleInstall(Order[Nothing], frozen=True, kw_only=True, tag="bundle-install"):
    """Make this bundle the node's: all of it, or the old one stays as it was.

    ``packed`` must hash to ``sha256``. What was put there by hand stays; where it is in the place
    of a file of the bundle, the bundle is refused, or with ``replace`` what is there set aside.
    """

    target: str = HOOKS
    sha256: str
    packed: bytes
    replace: bool = False


class BundleRestore(Order[Nothing], frozen=True, kw_only=True, tag="bundle-restore"):
    """Go back to the bundle ``sha256``, which the node still has; to none where it is empty.

    ``undoing``: what an install of that bundle had set aside comes back, too.
    """

    target: str = HOOKS
    sha256: str = ""
    undoing: str = ""


class FileKind(enum.StrEnum):
    """How a file on a node stands to the bundle."""

    BUNDLE = "bundle"
    """It is the bundle's, as it was installed."""
    MISSING = "missing"
    """The bundle's, and gone."""
    CHANGED = "changed"
    """The bundle's, with another content or mode than it was installed with."""
    HIDDEN = "hidden"
    """The bundle's, with a file of the node in its place."""
    LOCAL = "local"
    """Put there by hand."""
    ADDED = "added"
    """Put by hand among the files of the bundle, where it counts as one of them."""


class InstalledFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it is now. ``sha256`` is empty where it cannot be read or is larger than 4 MiB."""

    path: str
    kind: FileKind
    sha256: str = ""
    mode: int = 0


class InstalledBundle(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle of a node (empty: none), and every file of its and of what is beside it."""

    sha256: str = ""
    files: tuple[InstalledFile, ...] = ()


class ReadBundle(Question[InstalledBundle], frozen=True, kw_only=True, tag="bundle"):
    """Look at the node's files now."""

    answer: ClassVar[type[msgspec.Struct]] = InstalledBundle
    target: str = HOOKS
