"""What commands of gnt-hook need of the machine that they run on; ``gantry.main.bench`` does it.

A contract only: a command knows neither processes nor the machine's files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from gantry.model.hook_files import HookInventory

    class Bench(Protocol):
        """Scripts on this machine, without a cluster."""

        def inventory(self, directory: str, version: int) -> HookInventory:
            """What is in a directory of hooks; Usage where there is none."""
