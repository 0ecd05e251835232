"""Commands that take their time, and what goes wrong meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.redundancy import operating
from tests.redundancy.cluster import CALM, DAEMON, QEMU, Rig, kill, others
from tests.redundancy.plan import Fault

SHARE = 0.3
"""Of a fault's seconds: from the beginning of the command on."""
Harm = Callable[[Rig, Fault, int, int], None]


@contextmanager
def going_on(rig: Rig, *words: str) -> Iterator[None]:
    """A command runs; it has ended afterwards, whatever has become of it."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(rig.run, *words, timeout=CALM)
        yield
        done.result()


def migrate(rig: Rig, fault: Fault) -> None:
    """In order: it must come to be."""
    name = operating.guest(rig, fault)
    operating.in_sync(rig, name)
    _, target, *_ = rig.places(name)
    operating.until_done(rig, "a migration", *_migration(name, target))


def migrate_amid(harm: Harm) -> Callable[[Rig, Fault], None]:
    """What a round does that has this harm done to the two ends of a migration."""

    def act(rig: Rig, fault: Fault) -> None:
        name = operating.guest(rig, fault)
        operating.in_sync(rig, name)
        source, target, *_ = rig.places(name)
        with going_on(rig, *_migration(name, target)):
            operating.last(fault.seconds * SHARE)
            harm(rig, fault, source, target)

    return act


def _migration(name: str, target: int) -> tuple[str, ...]:
    return ("gnt-instance", "migrate", "-f", "-n", f"node{target}", name)


def killed(rig: Rig, fault: Fault, source: int, target: int) -> None:
    """The QEMUs or the storage daemons of one end."""
    several = [(one, program) for program in (QEMU, DAEMON) for one in (source, target)]
    for pid in rig.processes(*operating.draw(several, fault.how)):
        kill(pid)


def restarted(rig: Rig, fault: Fault, source: int, target: int) -> None:
    """The agent of one end, or the master, is away for a while."""
    several = (("agent", source), ("agent", target), ("master", 1))
    service = rig.fleet.daemon(*operating.draw(several, fault.how))
    service.stop(signal.SIGKILL)
    operating.last(fault.seconds)
    service.start(wait=False)


def cut(rig: Rig, fault: Fault, source: int, target: int) -> None:
    """The ends from each other, or one of them from all, for a while."""
    everybody = rig.fleet.numbers
    several = (
        (source, [target]),
        (source, others(everybody, source)),
        (target, others(everybody, target)),
    )
    one, them = operating.draw(several, fault.how)
    rig.fleet.part([one], them)
    operating.last(fault.seconds)
    rig.fleet.mend_all()
