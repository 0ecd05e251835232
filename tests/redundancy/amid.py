"""Commands that take their time, and what goes wrong meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.redundancy import operating
from tests.redundancy.cluster import DAEMON, QEMU, Rig, kill, others
from tests.redundancy.plan import Fault

SHARE = 0.3
"""Of a fault's seconds: from the beginning of the command on."""
Command = Callable[[Rig, str], tuple[str, ...]]
Act = Callable[[Rig, Fault], None]
Harm = Callable[[Rig, Fault, int, int], None]


@contextmanager
def going_on(rig: Rig, *words: str) -> Iterator[None]:
    """A command runs; it has ended afterwards, whatever has become of it."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(rig.run, *words, timeout=rig.calms)
        yield
        done.result()


def migrate(rig: Rig, name: str) -> tuple[str, ...]:
    """To the node of its other replica."""
    return ("gnt-instance", "migrate", "-f", "-n", f"node{rig.places(name)[1]}", name)


def grow(rig: Rig, name: str) -> tuple[str, ...]:
    """By a little."""
    return ("gnt-instance", "grow-disk", name, "0", "1M")


def in_order(command: Command) -> Act:
    """What a round does in which it must come to be."""

    def act(rig: Rig, fault: Fault) -> None:
        name = operating.guest(rig, fault)
        operating.in_sync(rig, name)
        words = command(rig, name)
        operating.until_done(rig, " ".join(words), *words)

    return act


def broken(command: Command, harm: Harm) -> Act:
    """What a round does in which this harm is done meanwhile to the guest's two nodes."""

    def act(rig: Rig, fault: Fault) -> None:
        name = operating.guest(rig, fault)
        operating.in_sync(rig, name)
        primary, secondary, *_ = rig.places(name)
        with going_on(rig, *command(rig, name)):
            operating.last(fault.seconds * SHARE)
            harm(rig, fault, primary, secondary)

    return act


def killed(rig: Rig, fault: Fault, primary: int, secondary: int) -> None:
    """The QEMUs or the storage daemons of one node."""
    several = [(one, program) for program in (QEMU, DAEMON) for one in (primary, secondary)]
    for pid in rig.processes(*operating.draw(several, fault.how)):
        kill(pid)


def restarted(rig: Rig, fault: Fault, primary: int, secondary: int) -> None:
    """The agent of one node, or the master, is away for a while."""
    several = (("agent", primary), ("agent", secondary), ("master", 1))
    service = rig.fleet.daemon(*operating.draw(several, fault.how))
    service.stop(signal.SIGKILL)
    operating.last(fault.seconds)
    service.start(wait=False)


def cut(rig: Rig, fault: Fault, primary: int, secondary: int) -> None:
    """The nodes from each other, or one of them from all, for a while."""
    everybody = rig.fleet.numbers
    several = (
        (primary, [secondary]),
        (primary, others(everybody, primary)),
        (secondary, others(everybody, secondary)),
    )
    one, them = operating.draw(several, fault.how)
    rig.fleet.part([one], them)
    operating.last(fault.seconds)
    rig.fleet.mend_all()


def lost(rig: Rig, fault: Fault, primary: int, secondary: int) -> None:
    """Everything on one node, which is back later."""
    number = operating.draw((primary, secondary), fault.how)
    rig.kill_all(number)
    operating.last(fault.seconds)
    rig.come_back(number)
