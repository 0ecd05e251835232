"""A node without any room left, and what happens there meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.redundancy import operating
from tests.redundancy.cluster import DAEMON, QEMU, Rig, kill
from tests.redundancy.plan import Fault


def full_disk(rig: Rig, fault: Fault) -> None:
    """All of a node is on one small file system: state, records, logs, and the disks."""
    number = operating.draw(rig.fleet.numbers, fault.victim)
    rig.fill(number)
    operating.draw(_MEANWHILE, fault.how)(rig, number)
    operating.last(fault.seconds)
    rig.make_room()


def _nothing(rig: Rig, number: int) -> None:
    """It only lasts."""


def _guests(rig: Rig, number: int) -> None:
    for pid in rig.processes(number, QEMU):
        kill(pid)


def _replicas(rig: Rig, number: int) -> None:
    for pid in rig.processes(number, DAEMON):
        kill(pid)


def _agent(rig: Rig, number: int) -> None:
    service = rig.fleet.daemon("agent", number)
    service.stop(signal.SIGKILL)
    service.start(wait=False)


def _master(rig: Rig, number: int) -> None:
    service = rig.fleet.daemon("master", 1)
    service.stop(signal.SIGKILL)
    service.start(wait=False)


def _operator(rig: Rig, number: int) -> None:
    """Commands that may fail: then nothing is lost, and they are given again when there is room."""
    for name in sorted(rig.guests):
        if number in rig.places(name):
            rig.run("gnt-instance", "stop", "--timeout=20", name)
            rig.run("gnt-instance", "start", name)


_MEANWHILE: tuple[Callable[[Rig, int], None], ...] = (
    _nothing,
    _guests,
    _replicas,
    _agent,
    _master,
    _operator,
)
