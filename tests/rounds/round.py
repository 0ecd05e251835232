"""One round: clients work, faults come, all is healed, and then everything must hold."""

from __future__ import annotations

import logging
import threading
import time

from tests.rounds import breaking, checks
from tests.rounds.clients import Client
from tests.rounds.cluster import Kept, Rig
from tests.rounds.plan import ETCD, LOSING, SQLITE, Fault, plan

CLIENTS = 3
LONGEST = 5.0
"""Seconds of the longest fault: longer than the lease of a master in these rounds."""
GET_ON = 120.0
"""Seconds in which clients get the next job acknowledged, once all is healed."""
_log = logging.getLogger(__name__)


class Progress:
    """Counts what clients were promised, and wakes who waits for more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def tell(self) -> None:
        """One promise more."""
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def more(self, number: int, timeout: float) -> bool:
        """Wait until there are ``number`` more than now; False where there are not in time."""
        with self._changed:
            wanted = self._count + number
            return self._changed.wait_for(lambda: self._count >= wanted, timeout)


def run(rig: Rig, seed: int) -> None:
    """The round of that seed, from a healthy cluster to a healthy cluster."""
    faults = plan(seed, SQLITE if rig.kept is Kept.SQLITE else ETCD, LONGEST)
    told = "; ".join(f"{one.kind} ({one.seconds:g} s)" for one in faults)
    _log.info("seed %d on %s: %s", seed, rig.kept, told)
    rig.back_up()
    progress = Progress()
    clients = [Client(rig, number, seed, progress.tell) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    restored = _break(rig, faults, progress)
    for client in clients:
        client.enough.set()
    for client in clients:
        client.join(GET_ON)
        assert not client.is_alive() and not client.problems, client.problems
    _check(rig, clients, restored)


def _break(rig: Rig, faults: tuple[Fault, ...], progress: Progress) -> float:
    """All faults, each healed; the moment of the last restore of the state, or 0."""
    restored = 0.0
    for fault in faults:
        assert progress.more(fault.after, GET_ON), f"stuck before {fault}:\n{_last_words(rig)}"
        try:
            breaking.carry_out(rig, fault)
        finally:
            breaking.heal(rig)
        if fault.kind in LOSING:
            restored = time.time()
    assert progress.more(1, GET_ON), f"stuck after the last fault:\n{_last_words(rig)}"
    return restored


def _check(rig: Rig, clients: list[Client], restored: float) -> None:
    fleet = rig.fleet
    jobs = checks.settled(rig)
    # What was promised after the copy that was restored is not known to it.
    promises = [promise for client in clients for promise in client.promises]
    checks.promises_kept(promises, jobs, restored)
    if restored:
        checks.tidy(rig)
        checks.forget(rig)
    checks.world_agrees(rig)
    journals = [checks.journal(machine.root, machine.number) for machine in fleet.machines]
    assert any(line.effect for lines in journals for line in lines)
    epochs = {line.epoch for lines in journals for line in lines}
    _log.info("%d promises, %d jobs; epoch %d", len(promises), len(jobs), max(epochs))
    checks.one_master_at_a_time(journals, fenced=rig.kept is Kept.ETCD)
    checks.consistent_story(rig, jobs)


def _last_words(rig: Rig) -> str:
    """The ends of the masters' logs, for whoever has to find out why nothing goes on."""
    found = []
    for number in rig.candidates:
        log = rig.fleet.machine(number).root / "var/log/gantry/master.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        found += [f"master of node{number}:", *lines[-8:]]
    return "\n".join(found)
