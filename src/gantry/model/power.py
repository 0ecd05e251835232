"""Power of nodes, switched by the site's own program: the orders, and what the program says.

The program (Ganeti's ``oob_program``) is called ``PROGRAM COMMAND NODE``, on the master's node.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import msgspec

from gantry.model import timeouts
from gantry.model.asking import AfterDeath, Order
from gantry.model.names import Uuid


class PowerCommand(enum.StrEnum):
    """What such a program can be asked; its first argument."""

    ON = "power-on"
    OFF = "power-off"
    CYCLE = "power-cycle"
    STATUS = "power-status"
    HEALTH = "health"


class Health(enum.StrEnum):
    """How an item of a machine is."""

    OK = "OK"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"
    UNKNOWN = "UNKNOWN"


MARKER: Final = "GANTRY_POWER"
"""The variable that tells the program's processes from others."""
CHANGING: Final = (PowerCommand.ON, PowerCommand.OFF, PowerCommand.CYCLE)
"""The commands that do something to the machine."""


class PowerSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What the program said. ``powered``: after on and off too; None where that was not asked.

    ``health`` are (item, how it is) pairs.
    """

    powered: bool | None = None
    health: tuple[tuple[str, Health], ...] = ()


class PowerRun(Order[PowerSaid], frozen=True, kw_only=True, tag="power-run"):
    """Run ``program`` for ``node``, called ``machine``; each call at most ``timeout`` seconds.

    ``delay`` seconds pass before. After on and off the program is asked for the power's status
    until it says so, for ``timeout`` seconds more: OperationFailed where it does not. ``run`` is
    random, and tells the program's processes from all others.
    """

    answer: ClassVar[type[msgspec.Struct]] = PowerSaid
    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    program: str
    command: PowerCommand
    node: Uuid
    machine: str
    run: Uuid
    timeout: float = timeouts.POWER
    delay: float = 0.0

    @property
    def longest(self) -> float:
        """Seconds that the whole order may take."""
        return self.delay + 3 * (self.timeout + timeouts.KILL_GRACE)
