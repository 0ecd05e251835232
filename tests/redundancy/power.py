"""A cluster whose machines lose their power: what was not synced to their disks is gone.

All that is on a machine is on a disk with a cache of its own. Everything on it is stopped at one
moment, then its disk is lost, then everything is killed: so nobody lives to hear of an error.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.redundancy.cluster import ROOM, Rig, kill
from tests.support.fleet import Fleet
from tests.support.namespaces import definitions
from tests.support.volatile_disk import VolatileDisk

MEMORY = Path("/dev/shm")
"""Where the images are: what the disks here would take to flush is not what is tested."""


class PoweredRig(Rig):
    """Whatever kills a whole machine takes its power."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self.place = Path(tempfile.mkdtemp(prefix="gantry-disks-", dir=MEMORY))
        self._volatile = {
            number: VolatileDisk(fleet.machine(number).root, self.place / str(number), ROOM)
            for number in self.volatile()
        }

    def volatile(self) -> Sequence[int]:
        """The machines that have such a disk."""
        return self.fleet.numbers

    def prepare(self) -> None:
        """Each machine has its disk."""
        for number, disk in self._volatile.items():
            disk.switch_on()
            definitions(self.fleet.machine(number).root)

    def begin(self) -> None:
        """What is written from now on is kept only where it is flushed."""
        for disk in self._volatile.values():
            if disk.on:
                disk.keep()

    def kill_every(self, numbers: Sequence[int]) -> None:
        """Their power is lost, at one moment."""
        numbers = [number for number in numbers if self._volatile[number].on]
        for number in numbers:
            self.watch.deaf(number)
            for service in self.fleet.every(number):
                service.leave()
        for pid in (pid for number in numbers for pid in self.processes(number)):
            kill(pid, signal.SIGSTOP)
        for number in numbers:
            self._volatile[number].lose_power()
        super().kill_every(numbers)
        for number in numbers:
            self._volatile[number].rest()

    def come_back(self, number: int) -> None:
        """It has power again."""
        if not self._volatile[number].on:
            self._volatile[number].switch_on()
            shutil.rmtree(self.fleet.machine(number).root / "run", ignore_errors=True)
        self.watch.listen(number)
        super().come_back(number)

    def close(self) -> None:
        """Nothing is left of the machines and their disks."""
        super().close()
        for disk in self._volatile.values():
            disk.close()
        self.place.rmdir()
