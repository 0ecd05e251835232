"""What the cluster's state says of a guest's disks, and how an operator brings it back to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tests.redundancy import operating
from tests.redundancy.cluster import Rig, number_of, others
from tests.support.cluster import Done, eventually

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """Of each disk the machines that have it; ``up`` is what it should be."""

    template: str
    up: bool
    primary: int
    disks: tuple[frozenset[int], ...]

    @property
    def secondaries(self) -> list[int]:
        """The machines with other replicas of its first disk."""
        return sorted(self.disks[0] - {self.primary})

    def free(self, rig: Rig) -> int:
        """A machine that has no replica of it."""
        return next(one for one in rig.fleet.numbers if one not in self.disks[0])


def read(rig: Rig, name: str) -> Layout:
    """What is written just now, as soon as somebody answers."""
    found = eventually(f"the layout of {name}", lambda: rig.information(name), timeout=rig.calms)
    primary = number_of(found["pnode"])
    return Layout(
        template=found["disk_template"],
        up=found["admin_state"] == "up",
        primary=primary,
        disks=tuple(
            frozenset([primary, *(number_of(one["node"]) for one in disk.get("replicas") or ())])
            for disk in found["disks"]
        ),
    )


def until(rig: Rig, name: str, holds: Callable[[Layout], bool], *words: str) -> None:
    """Give a command again and again until what it is for is so; it may have been all along."""
    said = list[Done]()

    def so() -> bool:
        if holds(read(rig, name)):
            return True
        said.append(rig.run(*words))
        return holds(read(rig, name))

    what = " ".join(words)
    try:
        eventually(what, so, timeout=rig.calms)
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[-1].said if said else ''}") from None
    if said:
        _log.info("%s (try %d)", what, len(said))


def restore(rig: Rig, name: str) -> None:
    """As all rounds have it: up, with one disk that is mirrored to one other node."""
    if read(rig, name).template == "file":
        mirrored(rig, name)
    up(rig, name)
    while len(read(rig, name).disks) > 1:
        unplugged(rig, name)
    found = read(rig, name)
    if not found.secondaries:
        node = f"node{others(rig.fleet.numbers, found.primary)[0]}"
        words = ("gnt-instance", "add-mirror", "-b", "0", "-n", node, name)
        until(rig, name, lambda now: len(now.disks[0]) > 1, *words)
    while len(found.secondaries) > 1:
        less(rig, name, found.secondaries[0])
        found = read(rig, name)
    files = rig.files(name)
    if any(not files[one].exists() for one in found.secondaries):
        operating.until_done(rig, "made anew", "gnt-instance", "replace-disks", "-a", name)


def up(rig: Rig, name: str) -> None:
    """It is started, where it should be down."""
    until(rig, name, lambda now: now.up, "gnt-instance", "start", name)


def down(rig: Rig, name: str) -> None:
    """It is shut down."""
    words = ("gnt-instance", "stop", "--timeout=20", name)
    until(rig, name, lambda now: not now.up, *words)


def mirrored(rig: Rig, name: str) -> None:
    """Files become mirrored disks."""
    node = f"node{others(rig.fleet.numbers, read(rig, name).primary)[0]}"
    words = ("gnt-instance", "modify", "-t", "mirror", "-n", node, name)
    until(rig, name, lambda now: now.template == "mirror", *words)


def in_files(rig: Rig, name: str) -> None:
    """Mirrored disks become files, whether it is up or not."""
    words = ("gnt-instance", "modify", "-t", "file", name)
    until(rig, name, lambda now: now.template == "file", *words)


def plugged(rig: Rig, name: str) -> None:
    """It has a second disk."""
    until(rig, name, lambda now: len(now.disks) > 1, *PLUG, name)


def unplugged(rig: Rig, name: str) -> None:
    """It has one disk less."""
    count = len(read(rig, name).disks)
    words = ("gnt-instance", "modify", "--hotplug", "--disk", f"{count - 1}:remove", name)
    until(rig, name, lambda now: len(now.disks) < count, *words)


def less(rig: Rig, name: str, machine: int) -> None:
    """A replica less."""
    number = rig.numbers(name)[machine]
    words = ("gnt-instance", "remove-mirror", "-f", "-b", "0", "-p", str(number), name)
    until(rig, name, lambda now: machine not in now.disks[0], *words)


def on(rig: Rig, name: str, machine: int) -> None:
    """It runs on that machine, which has a replica of it."""
    words = ("gnt-instance", "failover", "-f", "--shutdown-timeout=20", "-n", f"node{machine}")
    until(rig, name, lambda now: now.primary == machine, *words, name)


PLUG = ("gnt-instance", "modify", "--hotplug", "--disk", "add:size=8M")
