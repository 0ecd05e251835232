"""Hook scripts on this machine, without a cluster: what ``gnt-hook`` asks of it.

Scripts are run by the runner that agents use, so that a trial is what would happen.
"""

from __future__ import annotations

from pathlib import Path

from gantry.cli.errors import Usage
from gantry.host import inventory
from gantry.model.hook_files import HookInventory


class LocalBench:
    """Implements ``gantry.cli.hook.bench.Bench``."""

    def inventory(self, directory: str, version: int) -> HookInventory:
        """What is in a directory of hooks; Usage where there is none."""
        base = Path(directory)
        if not base.is_dir():
            raise Usage(
                f"{directory} is no directory",
                "give one that has directories such as instance-add-pre.d in it",
            )
        return inventory.read(base.absolute(), version)
