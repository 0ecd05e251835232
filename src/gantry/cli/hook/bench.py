"""What commands of gnt-hook need of the machine that they run on; ``gantry.main.bench`` does it.

A contract only: a command knows neither processes nor the machine's files.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from gantry.model.hook_files import HookInventory
from gantry.model.hook_orders import HooksRun, ScriptResult


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What a script did. ``name`` is what it was run as, ``environment`` what it saw."""

    name: str
    result: ScriptResult
    stdout: str
    stderr: str
    environment: dict[str, str]
    node: str = ""
    """The name of the node whose ledger keeps it."""


class Bench(Protocol):
    """Scripts on this machine, without a cluster."""

    def run(self, script: str, order: HooksRun, *, keep: bool) -> Tried:
        """Run one script as the order says, which has one directory.

        ``keep``: in this node's ledger, marked as a test. Usage where it cannot be run.
        """

    def inventory(self, directory: str, version: int) -> HookInventory:
        """What is in a directory of hooks; Usage where there is none."""
