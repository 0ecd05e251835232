"""A node's bundles of one target, in memory."""

from __future__ import annotations

from gantry.model import bundles
from gantry.model.bundle_orders import (
    BundleInstall,
    BundleRestore,
    FileKind,
    InstalledBundle,
    InstalledFile,
)
from gantry.model.errors import Rejected


class FakeBundles:
    """What is installed, and what was put there by hand."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.current = ""
        """The hash of the bundle."""
        self.known: dict[str, tuple[str, ...]] = {}
        """The paths of the files of every bundle that was installed, by its hash."""
        self.local: set[str] = set()
        """Where something was put by hand."""
        self.aside: dict[str, set[str]] = {}
        """Such paths that a bundle has set aside, by its hash."""

    def install(self, order: BundleInstall) -> None:
        """As an agent does it."""
        files = bundles.unpack(order.packed)
        if bundles.digest(bundles.entries(files)) != order.sha256:
            raise Rejected("the bundle that came to node is another one")
        taken = self.local & {bundles.shown(self.target, file.path) for file in files}
        if taken and not order.replace:
            raise Rejected(f"{min(taken)} is there already, put there by hand")
        self.local -= taken
        self.aside.setdefault(order.sha256, set()).update(taken)
        self.known[order.sha256] = tuple(sorted(file.path for file in files))
        self.current = order.sha256

    def restore(self, order: BundleRestore) -> None:
        """As an agent does it."""
        if order.sha256 and order.sha256 not in self.known:
            raise Rejected(f"bundle {order.sha256[:12]} is not on this node any more")
        self.current = order.sha256
        self.local |= self.aside.pop(order.undoing, set())

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the files of the bundle."""
        return self.known.get(self.current, ())

    @property
    def used(self) -> bool:
        """Whether there is anything."""
        return bool(self.current or self.local)

    def read(self) -> InstalledBundle:
        """As an agent says it."""
        found = [(path, FileKind.BUNDLE) for path in self.paths]
        found += [(path, FileKind.LOCAL) for path in self.local]
        return InstalledBundle(
            sha256=self.current,
            files=tuple(InstalledFile(path=path, kind=kind) for path, kind in sorted(found)),
        )

    def state(self) -> tuple[str, frozenset[str]]:
        """What counts."""
        return self.current, frozenset(self.local)
