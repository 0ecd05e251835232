"""What commands of gnt-os need of the machine that they run on; ``gantry.main.os_bench`` does it.

A contract only: a command knows neither processes nor the machine's files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gantry.model.findings import Finding
from gantry.model.os_trial import Attempt, Trial, Wanted


class OsBench(Protocol):
    """OS definitions on this machine, without a cluster."""

    def lint(self, directory: str, name: str) -> tuple[Finding, ...]:
        """What is wrong with a definition of that name; Usage where there is no directory."""

    def attempt(
        self, directory: str, name: str, wanted: Wanted, told: Callable[[Attempt], None]
    ) -> Trial:
        """Run its scripts on scratch disks; ``told`` hears of each when it has ended.

        Usage or Rejected where it cannot be tried at all.
        """
