"""Carrying out a fault of a plan, and what an operator does about it."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.redundancy import amid, operating
from tests.redundancy.cluster import DAEMON, QEMU, Rig, kill, others
from tests.redundancy.continuing import go_on
from tests.redundancy.filling import full_disk
from tests.redundancy.isolating import isolate
from tests.redundancy.plan import Fault, Kind

FLAPS = 3


def carry_out(rig: Rig, fault: Fault) -> None:
    """Do it, for as long as it lasts, and all that an operator has to do."""
    _DO[fault.kind](rig, fault)


def heal(rig: Rig) -> None:
    """All links are there, nothing is frozen, no disk is full."""
    rig.make_room()
    rig.fleet.mend_all()
    rig.fleet.thaw_all()


def _kill_guest(rig: Rig, fault: Fault) -> None:
    name = operating.guest(rig, fault)
    for pid in rig.processes(rig.node_of(name), QEMU):
        kill(pid)


def _kill_replica(rig: Rig, fault: Fault) -> None:
    for pid in rig.processes(operating.draw(rig.fleet.numbers, fault.victim), DAEMON):
        kill(pid)


def _freeze_replica(rig: Rig, fault: Fault) -> None:
    found = rig.processes(operating.draw(rig.fleet.numbers, fault.victim), DAEMON)
    for pid in found:
        kill(pid, signal.SIGSTOP)
    operating.last(fault.seconds)
    for pid in found:
        kill(pid, signal.SIGCONT)


def _restarted(rig: Rig, role: str, number: int, fault: Fault) -> None:
    service = rig.fleet.daemon(role, number)
    service.stop(signal.SIGKILL)
    operating.last(fault.seconds)
    service.start(wait=False)


def _kill_agent(rig: Rig, fault: Fault) -> None:
    _restarted(rig, "agent", operating.draw(rig.fleet.numbers, fault.victim), fault)


def _kill_master(rig: Rig, fault: Fault) -> None:
    _restarted(rig, "master", 1, fault)


def _kill_node(rig: Rig, fault: Fault) -> None:
    number = operating.draw(rig.fleet.numbers, fault.victim)
    rig.kill_all(number)
    operating.last(fault.seconds)
    rig.come_back(number)


def _kill_site(rig: Rig, fault: Fault) -> None:
    rig.kill_every(rig.fleet.numbers)
    operating.last(fault.seconds)
    for number in rig.fleet.numbers:
        rig.come_back(number)


def _lose_site(rig: Rig, fault: Fault) -> None:
    """What the guests of one node were told is in what the others have left."""
    operating.all_in_sync(rig)
    used = {rig.node_of(name) for name in rig.guests} - {1}
    number = operating.draw(sorted(used) or others(rig.fleet.numbers, 1), fault.victim)
    rig.kill_every(rig.fleet.numbers)
    operating.last(fault.seconds)
    for other in others(rig.fleet.numbers, number):
        rig.come_back(other)
    operating.fail_over_all(rig, number)
    rig.come_back(number)
    operating.take_back(rig, number)


def _lose_node(rig: Rig, fault: Fault) -> None:
    """Not the master's: the state is a file there."""
    operating.all_in_sync(rig)
    number = operating.draw(others(rig.fleet.numbers, 1), fault.victim)
    rig.kill_all(number)
    operating.fail_over_all(rig, number)
    rig.come_back(number)
    operating.take_back(rig, number)


def _cut_node(rig: Rig, fault: Fault) -> None:
    number = operating.draw(rig.fleet.numbers, fault.victim)
    rig.fleet.part([number], others(rig.fleet.numbers, number))
    operating.last(fault.seconds)
    rig.fleet.mend_all()


def _cut_pair(rig: Rig, fault: Fault) -> None:
    number = operating.draw(rig.fleet.numbers, fault.victim)
    rig.fleet.part([number], [number % len(rig.fleet.numbers) + 1])
    operating.last(fault.seconds)
    rig.fleet.mend_all()


def _flap(rig: Rig, fault: Fault) -> None:
    number = operating.draw(rig.fleet.numbers, fault.victim)
    for _ in range(FLAPS):
        rig.fleet.part([number], others(rig.fleet.numbers, number))
        operating.last(fault.seconds / FLAPS / 2)
        rig.fleet.mend_all()
        operating.last(fault.seconds / FLAPS / 2)


def _stop_start(rig: Rig, fault: Fault) -> None:
    name = operating.guest(rig, fault)
    operating.stop(rig, name)
    operating.start(rig, name)


def _failover(rig: Rig, fault: Fault) -> None:
    name = operating.guest(rig, fault)
    operating.in_sync(rig, name)
    operating.until_done(rig, "a planned failover", "gnt-instance", "failover", "--force", name)


def _reboot_kill(rig: Rig, fault: Fault) -> None:
    """Down in order, and then its node is lost: the other replica has all of it."""
    name = operating.guest(rig, fault)
    operating.in_sync(rig, name)
    number = rig.node_of(name)
    operating.stop(rig, name)
    if number != 1:
        rig.kill_all(number)
        operating.fail_over_all(rig, number)
        rig.come_back(number)
        operating.take_back(rig, number)
    operating.start(rig, name)


def _move_replica(rig: Rig, fault: Fault) -> None:
    """The redundancy moves to the third node without ever being away."""
    name = operating.guest(rig, fault)
    operating.in_sync(rig, name)
    primary, secondary, *_ = rig.places(name)
    [third] = [one for one in rig.fleet.numbers if one not in (primary, secondary)]
    operating.until_done(
        rig, "a replica more", "gnt-instance", "add-mirror", "-b", "0", "-n", f"node{third}", name
    )
    number = rig.numbers(name)[secondary]
    operating.until_done(
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
    Kind.MIGRATE: amid.in_order(amid.migrate),
    Kind.MIGRATE_KILL: amid.broken(amid.migrate, amid.killed),
    Kind.MIGRATE_AGENT: amid.broken(amid.migrate, amid.restarted),
    Kind.MIGRATE_CUT: amid.broken(amid.migrate, amid.cut),
    Kind.MIGRATE_LOSE: amid.broken(amid.migrate, amid.lost),
    Kind.KILL_SITE: _kill_site,
    Kind.LOSE_SITE: _lose_site,
    Kind.GROW: amid.in_order(amid.grow),
    Kind.GROW_KILL: amid.broken(amid.grow, amid.killed),
    Kind.GROW_AGENT: amid.broken(amid.grow, amid.restarted),
    Kind.GROW_CUT: amid.broken(amid.grow, amid.cut),
    Kind.CONTINUE: go_on,
    Kind.FULL_DISK: full_disk,
    Kind.ISOLATE: isolate,
}
