"""The changes of these rounds: how each is begun, and what it has come to where it says it is done.

Each gives a command for a guest that is as it should be: it has one disk, mirrored to one node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.redundancy import layout, operating
from tests.redundancy.changes import Change, Draw
from tests.redundancy.cluster import QEMU, Rig, kill, others
from tests.redundancy.layout import Layout

Holds = Callable[[Layout], bool]


@dataclass(frozen=True)
class Begun:
    """``words`` are the command. ``nodes`` are those that it is about.

    ``made`` says whether a guest is as the command makes it. ``several``: it is made of several
    jobs, each of which happens or does not.
    """

    words: Sequence[str]
    nodes: Sequence[int]
    made: Holds
    several: bool = False
    passing: int = 0
    """A machine whose QEMU has the disks open while a guest comes to it with its files."""


def begin(rig: Rig, draw: Draw, name: str) -> Begun:
    """All that has to be so before the command is given."""
    operating.in_sync(rig, name)
    return _DO[draw.change](rig, draw, name)


def _to_file(rig: Rig, draw: Draw, name: str) -> Begun:
    nodes = sorted(layout.read(rig, name).disks[0])
    words = ("gnt-instance", "modify", "-t", "file", name)
    return Begun(words, nodes, lambda now: now.template == "file")


def _to_file_down(rig: Rig, draw: Draw, name: str) -> Begun:
    layout.down(rig, name)
    return _to_file(rig, draw, name)


def _to_mirror(rig: Rig, draw: Draw, name: str) -> Begun:
    layout.in_files(rig, name)
    return _mirrored(rig, name)


def _to_mirror_down(rig: Rig, draw: Draw, name: str) -> Begun:
    layout.down(rig, name)
    layout.in_files(rig, name)
    return _mirrored(rig, name)


def _mirrored(rig: Rig, name: str) -> Begun:
    primary = layout.read(rig, name).primary
    other = others(rig.fleet.numbers, primary)[0]
    words = ("gnt-instance", "modify", "-t", "mirror", "-n", f"node{other}", name)
    return Begun(words, [primary, other], lambda now: now.template == "mirror")


def _plug(rig: Rig, draw: Draw, name: str) -> Begun:
    nodes = sorted(layout.read(rig, name).disks[0])
    return Begun((*layout.PLUG, name), nodes, lambda now: len(now.disks) == 2)


def _unplug(rig: Rig, draw: Draw, name: str) -> Begun:
    layout.plugged(rig, name)
    nodes = sorted(layout.read(rig, name).disks[0])
    words = ("gnt-instance", "modify", "--hotplug", "--disk", "1:remove", name)
    return Begun(words, nodes, lambda now: len(now.disks) == 1)


def _replaced(*option: str) -> Callable[[Rig, Draw, str], Begun]:
    def replace(rig: Rig, draw: Draw, name: str) -> Begun:
        before = layout.read(rig, name)
        words = ("gnt-instance", "replace-disks", *option, name)
        return Begun(words, sorted(before.disks[0]), before.__eq__, several="-p" in option)

    return replace


def _replace_new(rig: Rig, draw: Draw, name: str) -> Begun:
    before = layout.read(rig, name)
    new = before.free(rig)
    words = ("gnt-instance", "replace-disks", "-n", f"node{new}", name)
    return Begun(words, rig.fleet.numbers, lambda now: now.secondaries == [new])


def _replace_auto(rig: Rig, draw: Draw, name: str) -> Begun:
    """The other replica's file is gone when the guest is started."""
    before = layout.read(rig, name)
    [other] = before.secondaries
    layout.down(rig, name)
    rig.files(name)[other].unlink()
    layout.up(rig, name)
    words = ("gnt-instance", "replace-disks", "-a", name)
    return Begun(words, sorted(before.disks[0]), before.__eq__, several=True)


def _add_replica(rig: Rig, draw: Draw, name: str) -> Begun:
    new = layout.read(rig, name).free(rig)
    words = ("gnt-instance", "add-mirror", "-b", "0", "-n", f"node{new}", name)
    return Begun(words, rig.fleet.numbers, lambda now: new in now.disks[0])


def _remove_replica(rig: Rig, draw: Draw, name: str) -> Begun:
    added = _add_replica(rig, draw, name)
    layout.until(rig, name, added.made, *added.words)
    operating.in_sync(rig, name)
    old = operating.draw(layout.read(rig, name).secondaries, draw.how)
    number = str(rig.numbers(name)[old])
    words = ("gnt-instance", "remove-mirror", "-f", "-b", "0", "-p", number, name)
    return Begun(words, rig.fleet.numbers, lambda now: old not in now.disks[0])


def _together(rig: Rig, draw: Draw) -> int:
    """A machine on which all guests run then."""
    found = {name: layout.read(rig, name) for name in sorted(rig.guests)}
    having = frozenset(rig.fleet.numbers).intersection(*(one.disks[0] for one in found.values()))
    machine = operating.draw(sorted(having), draw.how)
    operating.all_in_sync(rig)
    for name in found:
        layout.on(rig, name, machine)
    operating.all_in_sync(rig)
    return machine


def _emptied(*words: str) -> Callable[[Rig, Draw, str], Begun]:
    def empty(rig: Rig, draw: Draw, name: str) -> Begun:
        machine = _together(rig, draw)
        given = ("gnt-node", *words, f"node{machine}")
        nodes = rig.fleet.numbers
        return Begun(given, nodes, lambda now: now.primary != machine, several=True)

    return empty


def _evacuate(rig: Rig, draw: Draw, name: str) -> Begun:
    """Its guests, its copies of others' disks, or both."""
    option = operating.draw(("-p", "-s", ""), draw.where)
    machine = _together(rig, draw)
    if option == "-s":
        other = layout.read(rig, name).secondaries[0]
        words = ("gnt-node", "evacuate", "-f", "-s", f"node{other}")
        return Begun(words, rig.fleet.numbers, lambda now: other not in now.disks[0], several=True)
    given = ("gnt-node", "evacuate", "-f", *([option] if option else []), f"node{machine}")
    return Begun(given, rig.fleet.numbers, lambda now: now.primary != machine, several=True)


def _move(rig: Rig, draw: Draw, name: str) -> Begun:
    if draw.how < 0.5:
        layout.down(rig, name)
    layout.in_files(rig, name)
    primary = layout.read(rig, name).primary
    to = operating.draw(others(rig.fleet.numbers, primary), draw.how)
    words = ("gnt-instance", "move", "-f", "--shutdown-timeout=20", "-n", f"node{to}", name)
    return Begun(words, [primary, to], lambda now: now.primary == to)


def _migrate_file(rig: Rig, draw: Draw, name: str) -> Begun:
    """Begun with its disks in files, as most are."""
    layout.down(rig, name)
    layout.in_files(rig, name)
    layout.up(rig, name)
    primary = layout.read(rig, name).primary
    to = operating.draw(others(rig.fleet.numbers, primary), draw.how)
    words = ("gnt-instance", "migrate", "-f", "-n", f"node{to}", name)
    return Begun(words, [primary, to], lambda now: now.primary == to, passing=to)


def _recreate(rig: Rig, draw: Draw, name: str) -> Begun:
    """No node has a replica any more. What the guest wrote is lost, so it is another guest."""
    layout.down(rig, name)
    before = layout.read(rig, name)
    files = rig.files(name)
    for one in before.disks[0]:
        files[one].unlink()
    words = ("gnt-instance", "recreate-disks", name)
    return Begun(words, sorted(before.disks[0]), before.__eq__)


def _activate(rig: Rig, draw: Draw, name: str) -> Begun:
    """After an end without order, so that there is something to copy."""
    before = layout.read(rig, name)
    for pid in rig.runs_on(before.primary, [name]):
        kill(pid)
    layout.down(rig, name)
    words = ("gnt-instance", "activate-disks", "--wait-for-sync", name)
    return Begun(words, sorted(before.disks[0]), lambda now: now.disks == before.disks)


def _deactivate(rig: Rig, draw: Draw, name: str) -> Begun:
    activated = _activate(rig, draw, name)
    operating.until_done(rig, "disks are active", *activated.words)
    words = ("gnt-instance", "deactivate-disks", name)
    return Begun(words, activated.nodes, activated.made)


def _failover(rig: Rig, draw: Draw, name: str) -> Begun:
    before = layout.read(rig, name)
    [to] = before.secondaries
    words = ("gnt-instance", "failover", "-f", "--shutdown-timeout=20", name)
    return Begun(words, [before.primary, to], lambda now: now.primary == to)


def _start(rig: Rig, draw: Draw, name: str) -> Begun:
    """Sometimes after an end without order."""
    if draw.how < 0.5:
        for pid in rig.processes(rig.node_of(name), QEMU):
            kill(pid)
    layout.down(rig, name)
    nodes = sorted(layout.read(rig, name).disks[0])
    return Begun(("gnt-instance", "start", name), nodes, lambda now: now.up)


def _stop(rig: Rig, draw: Draw, name: str) -> Begun:
    nodes = sorted(layout.read(rig, name).disks[0])
    words = ("gnt-instance", "stop", "--timeout=20", name)
    return Begun(words, nodes, lambda now: not now.up)


_DO: dict[Change, Callable[[Rig, Draw, str], Begun]] = {
    Change.TO_FILE: _to_file,
    Change.TO_FILE_DOWN: _to_file_down,
    Change.TO_MIRROR: _to_mirror,
    Change.TO_MIRROR_DOWN: _to_mirror_down,
    Change.PLUG: _plug,
    Change.UNPLUG: _unplug,
    Change.REPLACE_SECONDARY: _replaced("-s"),
    Change.REPLACE_PRIMARY: _replaced("-p"),
    Change.REPLACE_NEW: _replace_new,
    Change.REPLACE_AUTO: _replace_auto,
    Change.ADD_REPLICA: _add_replica,
    Change.REMOVE_REPLICA: _remove_replica,
    Change.EVACUATE: _evacuate,
    Change.NODE_MIGRATE: _emptied("migrate", "-f"),
    Change.NODE_FAILOVER: _emptied("failover", "-f", "--shutdown-timeout=20"),
    Change.MOVE: _move,
    Change.MIGRATE_FILE: _migrate_file,
    Change.RECREATE: _recreate,
    Change.ACTIVATE: _activate,
    Change.DEACTIVATE: _deactivate,
    Change.FAILOVER: _failover,
    Change.START: _start,
    Change.STOP: _stop,
}
