"""Carrying out a fault of a plan on a rig; whatever was done is healed by ``heal``."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from tests.rounds.cluster import MEMBERS, Kept, Rig
from tests.rounds.plan import Fault, Kind
from tests.support.cluster import eventually
from tests.support.fleet import Service

FLAPS = 4
COPY = 90.0
"""Seconds until a candidate has got a copy of the state."""
BACK = 60.0
"""Seconds until what the fault before has ended is back."""
NOT_YET = ("no master process waits on", "does not answer", "do not answer")
SKEW = 86400
"""Seconds by which the clock of a member goes wrong."""


def carry_out(rig: Rig, fault: Fault) -> None:
    """Do it, for as long as it lasts."""
    _DO[fault.kind](rig, fault)


def heal(rig: Rig) -> None:
    """All links are there, nothing is frozen; what was ended is started by its keeper."""
    rig.fleet.mend_all()
    rig.fleet.thaw_all()


def _kill(services: Sequence[Service], fault: Fault) -> None:
    """They are started again when the fault is over."""
    for service in services:
        service.stop(signal.SIGKILL)
    time.sleep(fault.seconds)  # how long the fault lasts
    for service in services:
        service.start(wait=False)


def _freeze(rig: Rig, services: Sequence[Service], fault: Fault) -> None:
    for service in services:
        service.send(signal.SIGSTOP)
    time.sleep(fault.seconds)  # how long the fault lasts
    for service in services:
        service.send(signal.SIGCONT)


def _any(numbers: Sequence[int], fault: Fault) -> int:
    return numbers[int(fault.victim * len(numbers))]


def _others(rig: Rig, number: int) -> list[int]:
    return [one for one in rig.fleet.numbers if one != number]


def _kill_master(rig: Rig, fault: Fault) -> None:
    _kill([rig.fleet.daemon("master", rig.master())], fault)


def _kill_agent(rig: Rig, fault: Fault) -> None:
    _kill([rig.fleet.daemon("agent", _any(rig.fleet.numbers, fault))], fault)


def _kill_node(rig: Rig, fault: Fault) -> None:
    _kill(rig.fleet.every(_any(rig.fleet.numbers, fault)), fault)


def _freeze_master(rig: Rig, fault: Fault) -> None:
    _freeze(rig, [rig.fleet.daemon("master", rig.master())], fault)


def _freeze_agent(rig: Rig, fault: Fault) -> None:
    _freeze(rig, [rig.fleet.daemon("agent", _any(rig.fleet.numbers, fault))], fault)


def _freeze_node(rig: Rig, fault: Fault) -> None:
    _freeze(rig, rig.fleet.every(rig.master()), fault)


def _parted(rig: Rig, some: Sequence[int], fault: Fault) -> None:
    rig.fleet.part(some, [one for one in rig.fleet.numbers if one not in some])
    time.sleep(fault.seconds)  # how long the fault lasts
    rig.fleet.mend_all()


def _cut_master(rig: Rig, fault: Fault) -> None:
    _parted(rig, [rig.master()], fault)


def _cut_minority(rig: Rig, fault: Fault) -> None:
    master = rig.master()
    _parted(rig, [master, _any(_others(rig, master), fault)], fault)


def _cut_other(rig: Rig, fault: Fault) -> None:
    _parted(rig, [_any(_others(rig, rig.master()), fault)], fault)


def _mute(rig: Rig, fault: Fault) -> None:
    master = rig.master()
    for other in _others(rig, master):
        rig.fleet.cut(master, other)
    time.sleep(fault.seconds)  # how long the fault lasts
    rig.fleet.mend_all()


def _deaf(rig: Rig, fault: Fault) -> None:
    master = rig.master()
    for other in _others(rig, master):
        rig.fleet.cut(other, master)
    time.sleep(fault.seconds)  # how long the fault lasts
    rig.fleet.mend_all()


def _flap(rig: Rig, fault: Fault) -> None:
    master = rig.master()
    for _ in range(FLAPS):
        rig.fleet.part([master], _others(rig, master))
        time.sleep(fault.seconds / FLAPS / 2)  # how long the fault lasts
        rig.fleet.mend_all()
        time.sleep(fault.seconds / FLAPS / 2)


def _move(rig: Rig, fault: Fault) -> None:
    """As an operator does, on the node that is to be the master."""
    other = _any([one for one in rig.candidates if one != rig.master()], fault)

    def move() -> bool:
        done = rig.fleet.machine(other).run("gnt-cluster", "master-failover", "--yes-do-it")
        # A node may just be coming back from the fault before.
        assert done.status == 0 or any(text in done.stderr for text in NOT_YET), done.said
        return done.status == 0

    eventually("the master is moved", move, timeout=BACK)


def _restore(rig: Rig, fault: Fault) -> None:
    """As an operator does: stop the master, bring the copy back, start it.

    With etcd on all candidates, for any of them would be the next master.
    """
    assert rig.copy is not None
    where = [rig.master()] if rig.kept is Kept.SQLITE else list(rig.candidates)
    services = [rig.fleet.daemon("master", number) for number in where]
    for service in services:
        service.stop()
    machine = rig.fleet.machine(_any(where, fault))

    def bring_back() -> bool:
        done = machine.run("gantry", "state", "restore", str(rig.copy))
        # A member of etcd may just be coming back from the fault before.
        assert done.status == 0 or (rig.kept is Kept.ETCD and "etcd" in done.stderr), done.said
        return done.status == 0

    eventually("the copy is brought back", bring_back, timeout=BACK)
    for service in services:
        service.start(wait=False)


def _take_copy(rig: Rig, fault: Fault) -> None:
    """As an operator does whose master will not come back; then it does all the same."""
    old = rig.master()
    other = _any([one for one in rig.candidates if one != old], fault)
    eventually("a copy of the state", lambda: rig.has_copy(other), timeout=COPY)
    services = rig.fleet.every(old)
    for service in services:
        service.stop(signal.SIGKILL)
    done = rig.fleet.machine(other).run(
        "gnt-cluster", "master-failover", "--from-copy", "--yes-do-it"
    )
    assert done.status == 0, done.said
    for service in services:
        service.start(wait=False)


def _member(rig: Rig, fault: Fault) -> Service:
    return rig.fleet.services["etcd", _any(MEMBERS, fault)]


def _lose_member(rig: Rig, fault: Fault) -> None:
    member = _member(rig, fault)
    _kill([member], fault)


def _freeze_member(rig: Rig, fault: Fault) -> None:
    _freeze(rig, [_member(rig, fault)], fault)


def _full_member(rig: Rig, fault: Fault) -> None:
    """A file takes all room of the disk that holds its data, which is one of its own."""
    number = _any(MEMBERS, fault)
    filler = rig.fleet.machine(number).root / "etcd/filler"
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True, timeout=60
    )
    time.sleep(fault.seconds)  # how long the fault lasts
    filler.unlink()
    # etcd ends on a write that failed, and is started again, or it goes on.


def _skew_member(rig: Rig, fault: Fault) -> None:
    """The member's own clock, by which it counts leases, jumps with its restart."""
    member = _member(rig, fault)
    usual = list(member.argv)
    member.stop()
    at = member.argv.index("etcd")
    clocks = [f"--monotonic={SKEW}", f"--boottime={SKEW}"]
    member.argv[at:at] = ["unshare", "--time", *clocks, "--fork", "--kill-child=SIGKILL"]
    member.start(wait=False)
    time.sleep(fault.seconds)  # how long the fault lasts
    # Its parent lets no other signal end it.
    member.stop(signal.SIGKILL)
    member.argv[:] = usual
    member.start(wait=False)


_DO: dict[Kind, Callable[[Rig, Fault], None]] = {
    Kind.KILL_MASTER: _kill_master,
    Kind.KILL_AGENT: _kill_agent,
    Kind.KILL_NODE: _kill_node,
    Kind.FREEZE_MASTER: _freeze_master,
    Kind.FREEZE_AGENT: _freeze_agent,
    Kind.FREEZE_NODE: _freeze_node,
    Kind.CUT_MASTER: _cut_master,
    Kind.CUT_MINORITY: _cut_minority,
    Kind.CUT_OTHER: _cut_other,
    Kind.MUTE: _mute,
    Kind.DEAF: _deaf,
    Kind.FLAP: _flap,
    Kind.MOVE: _move,
    Kind.RESTORE: _restore,
    Kind.TAKE_COPY: _take_copy,
    Kind.LOSE_MEMBER: _lose_member,
    Kind.FREEZE_MEMBER: _freeze_member,
    Kind.FULL_MEMBER: _full_member,
    Kind.SKEW_MEMBER: _skew_member,
}
