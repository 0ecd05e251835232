"""A node that is cut off while its guests live on, and those guests elsewhere.

Three ways. Its power is taken by the cluster's program; or somebody says that it is off, who is
wrong: then the guest runs in two places, and whatever the isolated one writes must wait for ever.
In one of these ways it still reaches the other replica, and its writes go on until the failover
begins.
"""

from __future__ import annotations

import enum
import signal
import time
from collections.abc import Iterable

from tests.redundancy import operating
from tests.redundancy.cluster import CALM, Rig, others
from tests.redundancy.plan import Fault
from tests.redundancy.watching import Silence
from tests.support.cluster import eventually

STILL = 3.0
"""Seconds without a word after which a guest is taken to wait."""


class Way(enum.Enum):
    """How it goes on."""

    FENCED = enum.auto()
    TAKEN_FOR_OFF = enum.auto()
    TAKEN_FOR_OFF_AND_WRITING = enum.auto()


def isolate(rig: Rig, fault: Fault) -> None:
    """The node of a guest, which is not the master's."""
    name = operating.guest(rig, fault)
    if rig.node_of(name) == 1:
        operating.in_sync(rig, name)
        operating.until_done(rig, "a planned failover", "gnt-instance", "failover", "-f", name)
    operating.all_in_sync(rig)
    number, way = rig.node_of(name), operating.draw(tuple(Way), fault.how)
    names = [one for one in sorted(rig.guests) if rig.node_of(one) == number]
    writing = way is Way.TAKEN_FOR_OFF_AND_WRITING
    rig.fleet.part([number], [1] if writing else others(rig.fleet.numbers, number))
    if not writing:
        silent = _still(rig, number, names)
        operating.last(fault.seconds)
    if way is Way.FENCED:
        _fence(rig, number, names)
        ended = time.time()
        rig.come_back(number)
        rig.fleet.mend_all()
        operating.until_done(rig, "it has power", "gnt-node", "power", "on", "-f", f"node{number}")
    else:
        rig.watch.astray.add(number)
        operating.fail_over_all(rig, number)
        if writing:
            silent = time.time()
            operating.last(fault.seconds)
        rig.fleet.mend_all()
    operating.take_back(rig, number)
    if way is not Way.FENCED:
        eventually(
            "the isolated guests are ended",
            lambda: not rig.runs_on(number, names),
            timeout=CALM,
        )
        ended = time.time()
        rig.watch.astray.discard(number)
    rig.watch.silences += [Silence(one, number, silent, ended) for one in names]


def _still(rig: Rig, number: int, names: Iterable[str]) -> float:
    """Wait until nothing is acknowledged there any more; since when."""

    def since() -> float | None:
        moment = rig.watch.last_word(number, names)
        return moment if time.time() - moment > STILL else None

    moment = eventually("writes of the isolated guests wait", since, timeout=CALM)
    assert moment is not None
    return moment


def _fence(rig: Rig, number: int, names: Iterable[str]) -> None:
    """Refused without it; with it the power goes first."""
    for service in rig.fleet.every(number):
        service.leave()
    for name in names:
        refused = rig.run("gnt-instance", "failover", "-f", name)
        assert refused.status != 0, f"without proof of death: {refused.said}"
    # Once the power has gone for one of them, that is proof for all.
    for name in names:
        operating.until_done(
            rig, f"{name} is failed over", "gnt-instance", "failover", "-f", "--fence", name
        )
    assert not rig.processes(number), "its power was not taken"
    for service in rig.fleet.every(number):
        service.stop(signal.SIGKILL)  # whose end was seen
