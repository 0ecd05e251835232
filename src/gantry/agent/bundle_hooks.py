"""The bundle of hooks: each script is a link, beside those that were put there by hand.

    etc/ganeti/hooks/.bundles/…             see ``bundle_files``
    etc/ganeti/hooks/<directory>/<script>   a link to ../.bundles/current/<directory>/<script>

Names that begin with a dot are not read as hooks. The policy never leads nowhere, for then every
script would be denied: around the switch its link leads right into the bundle that has one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gantry.agent import tree
from gantry.agent.bundle_files import BundleFiles, above
from gantry.hooks.policy import FILE as POLICY
from gantry.model.bundles import HOOKS, UNPACKED


class HookBundles(BundleFiles):
    """The bundles below one directory of hooks."""

    def __init__(self, hooks: Path) -> None:
        super().__init__(HOOKS, hooks, hooks / UNPACKED)

    def _leads_to(self, path: str) -> str:
        return f"{above(path)}{self._inside}/current/{path}"

    def _ahead(self, to: str) -> Iterable[str]:
        """All but the policy: where only one of the bundles has one, it is not by the switch."""
        having = [one for one in (self.current(), to) if POLICY in self._shown(one)]
        place = self._base / POLICY
        local = (place.is_symlink() or place.exists()) and not self._is_ours(POLICY)
        if len(having) == 1 and not local:
            tree.replace_link(place, f"{self._inside}/{having[0]}/{POLICY}")
        return self._shown(to) - {POLICY}
