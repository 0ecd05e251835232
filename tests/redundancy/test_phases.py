"""A migration of mirrored disks in which somebody dies, or is cut off, at each of its phases.

pytest tests/redundancy/test_phases.py -m long -k "resume and agent"

A phase is an order: as soon as its node's agent has written that it begins, the harm is done.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from tests.redundancy import amid, operating
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig, kill
from tests.redundancy.orders import Log
from tests.redundancy.round import Turn

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.long,
    pytest.mark.timeout(900),
]
GUEST = "w1.example.com"
AWAY = 4.0
"""Seconds for which an agent is away."""
CUT = 8.0
"""The same of the network: longer than a replica may be."""
Harm = Callable[[Rig, int, int], None]


def source_agent(rig: Rig, source: int, target: int) -> None:
    """Killed, and away for a while."""
    _restarted(rig, source)


def target_agent(rig: Rig, source: int, target: int) -> None:
    """Killed, and away for a while."""
    _restarted(rig, target)


def target_qemu(rig: Rig, source: int, target: int) -> None:
    """Killed."""
    for pid in rig.runs_on(target, [GUEST]):
        kill(pid)


def source_qemu(rig: Rig, source: int, target: int) -> None:
    """Killed."""
    for pid in rig.runs_on(source, [GUEST]):
        kill(pid)


def network(rig: Rig, source: int, target: int) -> None:
    """The two do not reach each other for a while."""
    rig.fleet.part([source], [target])
    operating.last(CUT)
    rig.fleet.mend_all()


def _restarted(rig: Rig, number: int) -> None:
    service = rig.fleet.daemon("agent", number)
    service.stop(signal.SIGKILL)
    operating.last(AWAY)
    service.start(wait=False)


PHASES = {
    "receive-guest": "target",
    "prepare-replica": "source",
    "send-guest": "source",
    "serve-replica": "source",
    "resume-guest": "target",
}
"""Each order, and at which end it is carried out."""
BEFORE = ("receive-guest", "prepare-replica", "send-guest")
"""Those before the change of primaries: where the target's QEMU dies, the guest goes on."""


@pytest.mark.parametrize("order", PHASES)
@pytest.mark.parametrize("harm", [source_agent, target_agent, source_qemu, target_qemu, network])
def test_it_ends_well(rig: Rig, order: str, harm: Harm) -> None:
    found = list[int]()

    def do(rig: Rig) -> None:
        operating.in_sync(rig, GUEST)
        source, target, *_ = rig.places(GUEST)
        found.extend((source, target))
        at = source if PHASES[order] == "source" else target
        log = Log(rig.fleet.machine(at).root)
        with amid.going_on(rig, *amid.migrate(rig, GUEST)):
            log.begins(order, rig.calms)
            harm(rig, source, target)

    rounds.around(rig, f"{harm.__name__} at {order}", [Turn(after=10, do=do)])
    source, target = found
    if harm is target_qemu:
        assert rig.node_of(GUEST) == (source if order in BEFORE else target)
    if harm is source_qemu and order not in BEFORE:
        assert rig.node_of(GUEST) == target
