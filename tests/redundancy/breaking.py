"""Carrying out a fault of a plan, and what an operator does about it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.redundancy.cluster import CALM, Rig, kill, others
from tests.redundancy.plan import Fault, Kind
from tests.support.cluster import Done, eventually

T = TypeVar("T")
DAEMON = "qemu-storage-daemon"
QEMU = "qemu-system"
FLAPS = 3


def carry_out(rig: Rig, fault: Fault) -> None:
    """Do it, for as long as it lasts, and all that an operator has to do."""
    _DO[fault.kind](rig, fault)


def heal(rig: Rig) -> None:
    """All links are there, nothing is frozen."""
    rig.fleet.mend_all()
    rig.fleet.thaw_all()


def _any(several: Sequence[T], fault: Fault) -> T:
    return several[int(fault.victim * len(several))]


def _guest(rig: Rig, fault: Fault) -> str:
    return _any(sorted(rig.guests), fault)


def _last(fault: Fault) -> None:
    time.sleep(fault.seconds)  # how long the fault lasts


def _until_done(rig: Rig, what: str, *words: str) -> None:
    """As an operator: again, where it cannot be done just now."""
    said = list[Done]()

    def once() -> bool:
        said.append(rig.run(*words))
        return said[-1].status == 0

    try:
        eventually(what, once, timeout=CALM)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[-1].said}") from None


def _kill_guest(rig: Rig, fault: Fault) -> None:
    name = _guest(rig, fault)
    for pid in rig.processes(rig.node_of(name), QEMU):
        kill(pid)


def _kill_replica(rig: Rig, fault: Fault) -> None:
    for pid in rig.processes(_any(rig.fleet.numbers, fault), DAEMON):
        kill(pid)


def _freeze_replica(rig: Rig, fault: Fault) -> None:
    found = rig.processes(_any(rig.fleet.numbers, fault), DAEMON)
    for pid in found:
        kill(pid, signal.SIGSTOP)
    _last(fault)
    for pid in found:
        kill(pid, signal.SIGCONT)


def _restarted(rig: Rig, role: str, number: int, fault: Fault) -> None:
    service = rig.fleet.daemon(role, number)
    service.stop(signal.SIGKILL)
    _last(fault)
    service.start(wait=False)


def _kill_agent(rig: Rig, fault: Fault) -> None:
    _restarted(rig, "agent", _any(rig.fleet.numbers, fault), fault)


def _kill_master(rig: Rig, fault: Fault) -> None:
    _restarted(rig, "master", 1, fault)


def _kill_node(rig: Rig, fault: Fault) -> None:
    number = _any(rig.fleet.numbers, fault)
    rig.kill_all(number)
    _last(fault)
    rig.come_back(number)


def _lose_node(rig: Rig, fault: Fault) -> None:
    """Not the master's: the state is a file there."""
    number = _any(others(rig.fleet.numbers, 1), fault)
    rig.kill_all(number)
    _fail_over_all(rig, number)
    rig.come_back(number)
    rig.fleet.daemon("agent", number).serves()
    _until_done(rig, "the node is back", "gnt-node", "modify", "--offline=no", f"node{number}")


def _fail_over_all(rig: Rig, number: int) -> None:
    """What an operator does who has seen that the node is dead."""
    node = f"node{number}"
    _until_done(rig, "it is marked", "gnt-node", "modify", "--offline=yes", "--force", node)
    for name in sorted(rig.guests):
        if rig.node_of(name) == number:
            _until_done(rig, f"{name} is failed over", "gnt-instance", "failover", "--force", name)


def _cut_node(rig: Rig, fault: Fault) -> None:
    number = _any(rig.fleet.numbers, fault)
    rig.fleet.part([number], others(rig.fleet.numbers, number))
    _last(fault)
    rig.fleet.mend_all()


def _cut_pair(rig: Rig, fault: Fault) -> None:
    number = _any(rig.fleet.numbers, fault)
    rig.fleet.part([number], [number % len(rig.fleet.numbers) + 1])
    _last(fault)
    rig.fleet.mend_all()


def _flap(rig: Rig, fault: Fault) -> None:
    number = _any(rig.fleet.numbers, fault)
    for _ in range(FLAPS):
        rig.fleet.part([number], others(rig.fleet.numbers, number))
        time.sleep(fault.seconds / FLAPS / 2)  # how long the fault lasts
        rig.fleet.mend_all()
        time.sleep(fault.seconds / FLAPS / 2)


def _stop(rig: Rig, name: str) -> None:
    _until_done(rig, f"{name} is down", "gnt-instance", "stop", "--timeout=20", name)


def _start(rig: Rig, name: str) -> None:
    _until_done(rig, f"{name} is up", "gnt-instance", "start", name)


def _stop_start(rig: Rig, fault: Fault) -> None:
    name = _guest(rig, fault)
    _stop(rig, name)
    _start(rig, name)


def _failover(rig: Rig, fault: Fault) -> None:
    name = _guest(rig, fault)
    eventually(f"{name} is in sync", lambda: rig.in_sync(name), timeout=CALM)
    _until_done(rig, "a planned failover", "gnt-instance", "failover", "--force", name)


def _reboot_kill(rig: Rig, fault: Fault) -> None:
    """Down in order, and then its node is lost: the other replica has all of it."""
    name = _guest(rig, fault)
    eventually(f"{name} is in sync", lambda: rig.in_sync(name), timeout=CALM)
    number = rig.node_of(name)
    _stop(rig, name)
    if number != 1:
        rig.kill_all(number)
        _fail_over_all(rig, number)
        rig.come_back(number)
        rig.fleet.daemon("agent", number).serves()
        _until_done(rig, "the node is back", "gnt-node", "modify", "--offline=no", f"node{number}")
    _start(rig, name)


def _move_replica(rig: Rig, fault: Fault) -> None:
    """The redundancy moves to the third node without ever being away."""
    name = _guest(rig, fault)
    eventually(f"{name} is in sync", lambda: rig.in_sync(name), timeout=CALM)
    primary, secondary, *_ = rig.places(name)
    [third] = [one for one in rig.fleet.numbers if one not in (primary, secondary)]
    _until_done(
        rig, "a replica more", "gnt-instance", "add-mirror", "-b", "0", "-n", f"node{third}", name
    )
    number = rig.numbers(name)[secondary]
    _until_done(
        rig,
        "a replica less",
        "gnt-instance",
        "remove-mirror",
        "-f",
        "-b",
        "0",
        "-p",
        str(number),
        name,
    )


_DO: dict[Kind, Callable[[Rig, Fault], None]] = {
    Kind.KILL_GUEST: _kill_guest,
    Kind.KILL_REPLICA: _kill_replica,
    Kind.FREEZE_REPLICA: _freeze_replica,
    Kind.KILL_AGENT: _kill_agent,
    Kind.KILL_MASTER: _kill_master,
    Kind.KILL_NODE: _kill_node,
    Kind.LOSE_NODE: _lose_node,
    Kind.CUT_NODE: _cut_node,
    Kind.CUT_PAIR: _cut_pair,
    Kind.FLAP: _flap,
    Kind.STOP_START: _stop_start,
    Kind.FAILOVER: _failover,
    Kind.REBOOT_KILL: _reboot_kill,
    Kind.MOVE_REPLICA: _move_replica,
}
