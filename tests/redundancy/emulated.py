"""A cluster whose nodes are machines of their own, and lose their power as such.

Those that have guests are emulated as a whole, and emulate these. The first one is not: it has the
master, and no guest, and commands are given there; it is a network namespace on a volatile disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.redundancy import boot_guest, disks
from tests.redundancy.power import PoweredRig
from tests.redundancy.watching import Seen, Watch
from tests.support.emulated_node import EmulatedNode
from tests.support.fleet import Fleet
from tests.support.guest_kernel import GuestKernel

from gantry.model import timeouts

ROOM = "400M"
"""Of all that is on a node."""
PIDS = 1 << 32
"""More than there are on a node."""
STRETCHED = (
    "CONNECT",
    "HANDSHAKE",
    "KNOCK",
    "URGENT",
    "READ",
    "CLIENT_READ",
    "STREAM_READ",
    "NODE_DOWN_AFTER",
    "AGENT_RESTART",
    "QMP",
    "GUEST_START",
    "BITMAPS_KEPT",
    "REPLICA_PROBE",
    "REPLICA_ANSWERED",
    "REPLICA_LOST",
    "REPLICA_SERVED",
    "MIRROR_MISSING",
)
"""Limits of what a machine takes for its own work, or another one waits for it."""
SLOWER = 5.0
"""An emulated machine than another one, where both have many things to do."""
READING = 60.0
"""Seconds for a node to read a disk."""


class EmulatedRig(PoweredRig):
    """Node 1 as elsewhere, all others emulated."""

    PLACES: Mapping[str, str] = {"w1.example.com": "node2:node3", "w2.example.com": "node3:node4"}

    calms = 900.0
    commands = 600.0

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        fleet.timeouts = {name: SLOWER * getattr(timeouts, name) for name in STRETCHED}
        consoles = [f"var/log/gantry/console/{name}.log" for name in self.PLACES]
        self._emulated = {
            number: EmulatedNode(
                fleet.machine(number),
                self.place / str(number),
                ROOM,
                consoles=consoles,
                inside="tests.redundancy.inside",
                timeouts=fleet.timeouts,
            )
            for number in fleet.numbers[1:]
        }

    def node(self, number: int) -> EmulatedNode:
        """One of those that are emulated."""
        return self._emulated[number]

    def volatile(self) -> Sequence[int]:
        """The first one."""
        return self.fleet.numbers[:1]

    def parameters(self, kernel: GuestKernel, directory: Path) -> tuple[str, ...]:
        """What guests are made with: they boot from their disk."""
        self._definition = boot_guest.build(directory)
        return ("-o", boot_guest.NAME, "-B", "memory=32M")

    def wire_power(self) -> None:
        """Nothing switches it but the rounds."""

    def prepare(self) -> None:
        """All machines have the OS of the guests."""
        super().prepare()
        for machine in self.fleet.machines:
            boot_guest.install(self._definition, machine.root)

    def start_agent(self, number: int) -> None:
        """From now on it is emulated."""
        node = self._emulated[number]
        self.fleet.services["agent", number] = node.build()
        node.switch_on()

    def new_watch(self) -> Watch:
        """It asks those that are emulated."""
        return EmulatedWatch(self.fleet, self.guests, list(self._emulated.items()))

    def begin(self) -> None:
        """What is written from now on is kept only where it is flushed."""
        super().begin()
        for node in self._emulated.values():
            if node.on:
                node.keep()

    def kill_every(self, numbers: Sequence[int]) -> None:
        """Their power is lost, at one moment."""
        lost = [node for number, node in self._emulated.items() if number in numbers]
        for node in lost:
            node.freeze()
        super().kill_every([number for number in numbers if number not in self._emulated])
        for node in lost:
            node.lose_power()

    def come_back(self, number: int) -> None:
        """It has power again."""
        if number in self._emulated:
            self._emulated[number].switch_on()
        else:
            super().come_back(number)

    def contents(self, name: str) -> list[str]:
        """As each emulated node that has a replica reads it."""
        found = [
            self._emulated[number].ask("digest", str(file), patience=READING)
            for number, file in self.files(name).items()
            if number in self._emulated
        ]
        return [one for one in found if one is not None]

    def close(self) -> None:
        """Nothing is left of the machines and their disks."""
        for node in self._emulated.values():
            node.close()
        super().close()


class EmulatedWatch(Watch):
    """What runs on nodes is asked of them, one after the other.

    So what two looks in a row saw was so for all of the time from the end of the first one to the
    beginning of the second, here as well.
    """

    every = 2.0

    def __init__(
        self,
        fleet: Fleet,
        guests: Mapping[str, str],
        nodes: Sequence[tuple[int, EmulatedNode]],
    ) -> None:
        super().__init__(fleet, guests)
        self._nodes = nodes
        # What came from these nodes is all there, in no order that holds from one to another.
        for number, _ in nodes:
            self.deaf(number)
            self.listen(number)
        self._question = (dict(guests), str(fleet.directory))

    def _see(self) -> Seen:
        used: dict[str, list[disks.Used]] = {name: [] for name in self.said}
        for number, node in self._nodes:
            for name, several in (node.ask("look", *self._question) or {}).items():
                used[name] += [_used(number, one) for one in several]
        return Seen.of(used)


def _used(number: int, answer: list[Any]) -> disks.Used:
    pid, files, running = answer
    mine = number * PIDS + pid
    return disks.Used(mine, frozenset(disks.Writer(mine, file) for file in files), running)
