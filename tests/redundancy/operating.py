"""What an operator does in a round, again and again until it can be done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

from tests.redundancy.cluster import Rig
from tests.redundancy.plan import Fault
from tests.support.cluster import Done, eventually

T = TypeVar("T")
_log = logging.getLogger(__name__)


def draw(several: Sequence[T], number: float) -> T:
    """The one of several that a draw from 0 to 1 means."""
    return several[int(number * len(several))]


def guest(rig: Rig, fault: Fault) -> str:
    """The one that a fault is about."""
    return draw(sorted(rig.guests), fault.victim)


def last(seconds: float) -> None:
    """So long a fault lasts."""
    time.sleep(seconds)


def until_done(rig: Rig, what: str, *words: str) -> None:
    """As an operator: again, where it cannot be done just now."""
    said = list[Done]()

    def once() -> bool:
        said.append(rig.run(*words))
        return said[-1].status == 0

    try:
        eventually(what, once, timeout=rig.calms)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[-1].said}") from None
    _log.info("%s (try %d)", what, len(said))


def in_sync(rig: Rig, name: str) -> None:
    """Wait until all replicas of a guest are."""
    eventually(f"{name} is in sync", lambda: rig.in_sync(name), timeout=rig.calms)
    _log.info("%s is in sync", name)


def all_in_sync(rig: Rig) -> None:
    """All of them: nothing but a replica in sync may be failed over to."""
    for name in sorted(rig.guests):
        in_sync(rig, name)


def start_again(rig: Rig, names: Iterable[str]) -> None:
    """What has died so often that it is not started by itself for minutes, or at all."""
    for row in rig.rows("name,status") or ():
        if row["name"] in names and row["status"] == "ERROR_down":
            start(rig, row["name"])


def stop(rig: Rig, name: str) -> None:
    """Shut down."""
    until_done(rig, f"{name} is down", "gnt-instance", "stop", "--timeout=20", name)


def start(rig: Rig, name: str) -> None:
    """Up again."""
    until_done(rig, f"{name} is up", "gnt-instance", "start", name)


def fail_over_all(rig: Rig, number: int) -> None:
    """What one does who takes a node for dead: all of its guests run elsewhere."""
    node = f"node{number}"
    until_done(rig, "it is marked", "gnt-node", "modify", "--offline=yes", "--force", node)
    for name in sorted(rig.guests):
        if rig.node_of(name) == number:
            until_done(rig, f"{name} is failed over", "gnt-instance", "failover", "--force", name)


def take_back(rig: Rig, number: int) -> None:
    """A node that was marked offline takes part again; its agent runs."""
    rig.fleet.daemon("agent", number).serves()
    until_done(rig, "the node is back", "gnt-node", "modify", "--offline=no", f"node{number}")
