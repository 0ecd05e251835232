"""A guest whose disk has ``on_degraded=continue``: it goes on where others wait, and may lose that.

It is there for this fault alone. Its node is cut off from all others; then either it comes back,
and nothing is lost, or it dies, and lost is at most what was acknowledged since it was cut off.
"""

from __future__ import annotations

import logging

from tests.redundancy import operating
from tests.redundancy.cluster import CALM, Rig, others
from tests.redundancy.plan import Fault
from tests.redundancy.watching import Watch, story
from tests.support.cluster import eventually

NAME = "continue.example.com"
BLOCKS = 20
_log = logging.getLogger(__name__)


def go_on(rig: Rig, fault: Fault) -> None:
    """On one of the nodes without the master."""
    number = operating.draw(others(rig.fleet.numbers, 1), fault.victim)
    secondary = number % len(rig.fleet.numbers) + 1
    # An agent that the fault before had started again may not be there yet.
    rig.fleet.all_serve()
    done = rig.add(NAME, f"node{number}:node{secondary}", ",on_degraded=continue")
    assert done.status == 0, done.said
    rig.know()
    watch = Watch(rig.fleet, {NAME: rig.guests[NAME]})
    watch.start()
    try:
        _break(rig, watch, fault, number)
    finally:
        watch.enough.set()
        watch.join()
        operating.until_done(
            rig, "it is removed", "gnt-instance", "remove", "-f", "--shutdown-timeout=0", NAME
        )
        rig.know()
    assert not watch.twice, watch.twice


def _break(rig: Rig, watch: Watch, fault: Fault, number: int) -> None:
    _writes(watch)
    operating.in_sync(rig, NAME)
    safe = watch.acknowledged(NAME)
    rig.fleet.part([number], others(rig.fleet.numbers, number))
    # What was under way when it was cut off tells nothing; what comes long after it does.
    operating.last(fault.seconds)
    _writes(watch)
    if fault.how < 0.5:
        rig.fleet.mend_all()
        operating.in_sync(rig, NAME)
        _writes(watch)
        wrong = story(watch.said[NAME])
    else:
        rig.kill_all(number)
        # Still cut off: what the dead agent had to say would be sent after its death, and believed.
        operating.fail_over_all(rig, number)
        rig.fleet.mend_all()
        rig.come_back(number)
        operating.take_back(rig, number)
        read = eventually("it has read", lambda: _first_read(watch, number), timeout=CALM)
        _log.info("safe were %d, told %d, left %d", safe, watch.acknowledged(NAME), read)
        there = [one for one in watch.said[NAME] if one.machine == number]
        elsewhere = [one for one in watch.said[NAME] if one.machine != number]
        wrong = [*story(there), *story(elsewhere)]
        if read < safe:
            wrong.append(f"block {safe} was acknowledged before the cut, and {read} is left")
    assert not wrong, wrong


def _writes(watch: Watch) -> None:
    stuck = watch.behind([NAME], BLOCKS, CALM)
    assert not stuck, f"{NAME} does not go on"


def _first_read(watch: Watch, number: int) -> int:
    """What is there on another machine than that; 0: nobody has read it yet."""
    found = (one for one in watch.said[NAME] if one.machine != number and one.word == "READ")
    return next((one.number for one in found), 0)
