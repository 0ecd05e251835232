"""One round: guests write, faults come, all is healed, and then everything must hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.redundancy import breaking, operating
from tests.redundancy.cluster import Rig
from tests.redundancy.plan import Fault
from tests.redundancy.watching import Watch, story
from tests.support.cluster import eventually

SOON = 90.0
"""Seconds in which a guest that died is started again by itself, the first three times."""
TRIES = 3
"""How often a replica may be lost while its guest is stopped to be looked at."""
WRONG = 10
"""Lines of what is wrong, in the message of a round that failed."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """What is done once each guest got ``after`` blocks more acknowledged."""

    after: int
    do: Callable[[Rig], None]


def run(rig: Rig, what: str, faults: Sequence[Fault]) -> None:
    """A round of these faults, from a healthy cluster to a healthy cluster; ``what`` names it.

    What went wrong is the first line of the message, and its last: it may be cut at either end.
    """
    _log.info("%s: %s", what, "; ".join(f"{one.kind} ({one.seconds:g} s)" for one in faults))
    around(rig, what, [_turn(one) for one in faults])


def around(
    rig: Rig, what: str, turns: Sequence[Turn], compared: Sequence[str] | None = None
) -> None:
    """A round in which that is done instead.

    Only the replicas of the guests ``compared`` are, where they are named; it takes a stop.
    """
    try:
        _run(rig, turns, compared)
    except AssertionError as error:
        reason = str(error).partition("\n")[0]
        message = [f"{what}: {error}", rig.why(), f"{what}: {reason}"]
        raise AssertionError("\n".join(message)) from None


def _turn(fault: Fault) -> Turn:
    def do(rig: Rig) -> None:
        _log.info("%s", fault.kind)
        breaking.carry_out(rig, fault)

    return Turn(after=fault.after, do=do)


def _run(rig: Rig, turns: Sequence[Turn], compared: Sequence[str] | None) -> None:
    rig.calm()
    watch = rig.watch = rig.new_watch()
    watch.look()
    watch.start()
    try:
        for turn in turns:
            rig.begin()
            _alive(rig, watch, turn.after)
            try:
                turn.do(rig)
            finally:
                breaking.heal(rig)
        _alive(rig, watch, 5)
        rig.calm()
        _same_everywhere(rig, tuple(rig.guests) if compared is None else compared)
        _alive(rig, watch, 5)
    finally:
        watch.enough.set()
        watch.join()
    _check(rig, watch)


def _check(rig: Rig, watch: Watch) -> None:
    wrong = [
        *watch.twice,
        *(f"{name}: {one}" for name in rig.guests for one in story(watch.said[name])),
        *(line for one in watch.silences for line in one.broken(watch.said[one.guest])),
    ]
    assert not wrong, "\n".join(wrong[:WRONG])
    for name in rig.guests:
        _log.info("%s: %d blocks", name, watch.acknowledged(name))


def _alive(rig: Rig, watch: Watch, blocks: int) -> None:
    """Every guest gets on."""
    stuck = watch.behind(rig.guests, blocks, SOON)
    if stuck:
        operating.start_again(rig, stuck)
        stuck = watch.behind(stuck, blocks, rig.calms)
    assert not stuck, f"not within {rig.calms:g} s {blocks} blocks more, stuck: {', '.join(stuck)}"


def _same_everywhere(rig: Rig, names: Sequence[str]) -> None:
    """What the state calls in sync is the same, byte for byte."""
    for name in names:
        for _ in range(TRIES):
            if _is_the_same(rig, name):
                break
            rig.calm()
        else:
            raise AssertionError(f"{TRIES} times a replica of {name} was lost while it was stopped")


def _is_the_same(rig: Rig, name: str) -> bool:
    """What is of a guest that is stopped for it; False where a replica has been lost meanwhile."""
    done = rig.run("gnt-instance", "stop", "--timeout=20", name)
    assert done.status == 0, done.said

    def same() -> bool:
        contents = rig.contents(name)
        return len(contents) >= 2 and len(set(contents)) == 1

    # On a busy machine a replica may be lost just then, and a stopped guest has none copied.
    told = f"the replicas of {name} are the same"
    eventually(told, lambda: same() or not rig.in_sync(name), timeout=rig.calms)
    found = same()
    done = rig.run("gnt-instance", "start", name)
    assert done.status == 0, done.said
    return found
