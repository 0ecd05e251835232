"""What commands of gnt-os need of the machine that they run on; ``gantry.main.os_bench`` does it.

A contract only: a command knows neither processes nor the machine's files.
"""

from __future__ import annotations

from typing import Protocol

from gantry.model.findings import Finding


class OsBench(Protocol):
    """OS definitions on this machine, without a cluster."""

    def lint(self, directory: str, name: str) -> tuple[Finding, ...]:
        """What is wrong with a definition of that name; Usage where there is no directory."""
