"""Whether an export can be an incremental one, and upon which point of which chain. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from gantry.model import export_facts
from gantry.model.backup_orders import EXPORT_DIRECTORY, ExportContents
from gantry.model.entities import Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.export_config import ExportConfig, parse
from gantry.model.export_facts import DumpFacts, Facts
from gantry.model.increment_orders import Below
from gantry.model.live import GuestLive
from gantry.model.names import Uuid


class Upon(msgspec.Struct, frozen=True, kw_only=True):
    """The chain that a new point is added to.

    ``last`` is its last point. ``since`` is what QEMU calls that moment, and ``below`` the dumps
    of the disks then; without ``below`` the new point is a full one, and without ``since`` one
    in which nothing is new. ``highest`` is the highest number that a point has had.
    """

    last: int
    highest: int = 0
    since: Uuid | None = None
    below: tuple[Below, ...] = ()

    @property
    def number(self) -> int:
        """Of the new point; none is given twice, as people name points by it."""
        return max(self.last, self.highest) + 1

    @property
    def unchanged(self) -> bool:
        """Nothing has changed since the last point."""
        return bool(self.below) and self.since is None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """``upon`` is None where a new chain begins; ``why`` is a line for the job's log."""

    upon: Upon | None
    why: str


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """How the instance is: ``guest`` where it is up, ``node`` the name of its primary node.

    ``marks`` are those of its guest, ``stamps`` (by disk) those of disks that no guest has open.
    """

    instance: Instance
    node: str
    guest: GuestLive | None
    marks: Mapping[str, tuple[int, ...]] = {}
    stamps: Mapping[str, str] = {}


def decide(found: ExportContents | None, now: Now) -> Decision:
    """What to do beside the export that is there. Rejected where the chain is too long."""
    if found is None:
        return _new("there is no export of it there yet")
    try:
        config = parse(found.config)
        facts = export_facts.decode(found.facts) if found.facts else Facts()
    except Rejected as error:
        return _new(f"the export that is there is of no use: {error.message}")
    if _another(facts, now.instance):
        _no_chain(found, now)
        return _new("the export that is there is of another instance of that name, and is replaced")
    if not facts.mark:
        return _new("the export that is there was made without --incremental, and is replaced")
    if len(found.points) >= export_facts.MOST_POINTS:
        raise Rejected(
            f"the export has {len(found.points)} points already",
            f"remove some: gnt-backup remove --point N {now.instance.name}",
            reason=Reason.STATE,
        )
    full = Upon(last=found.point, highest=facts.highest)
    why = _impossible(found, facts, config, now)
    if why:
        return Decision(upon=full, why=f"point {full.number} is a full export: {why}")
    upon = msgspec.structs.replace(full, below=_below(facts, now.instance))
    if now.guest is None:
        return Decision(
            upon=upon,
            why=f"point {upon.number} has nothing new: {now.instance.name} does not run, and "
            f"nobody has written to its disks since point {found.point}",
        )
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(config.timestamp))
    return Decision(
        upon=msgspec.structs.replace(upon, since=Uuid(facts.mark)),
        why=f"point {upon.number} is what has changed since point {found.point} ({when})",
    )


def _new(why: str) -> Decision:
    return Decision(upon=None, why=f"this is a full export, the first point of a chain: {why}")


def of_another(found: ExportContents, instance: Instance) -> bool:
    """Whether an export is another instance's, as far as can be told."""
    try:
        facts = export_facts.decode(found.facts) if found.facts else Facts()
    except Rejected:
        return False
    return _another(facts, instance)


def _another(facts: Facts, instance: Instance) -> bool:
    """Whether it is another instance's: names change, uuids do not.

    Where nothing is said of the instance, the disks tell.
    """
    if facts.instance:
        return facts.instance != instance.uuid
    disks = {_disk(dump) for dump in facts.dumps}
    known = bool(facts.mark and disks and instance.disks)
    return known and not disks & {disk.uuid for disk in instance.disks}


def _no_chain(found: ExportContents, now: Now) -> None:
    """A chain of several points is not thrown away by the way; Rejected."""
    name = now.instance.name
    if len(found.points) > 1:
        raise Rejected(
            f"the chain of {len(found.points)} exports that is there is of another instance, which "
            f"was called {name} then",
            f"remove it: gnt-backup remove {name}; or keep it under another name: on the node, "
            f"mv {EXPORT_DIRECTORY}/{name} {EXPORT_DIRECTORY}/old-{name}",
            reason=Reason.STATE,
            object_name=name,
        )


def _impossible(found: ExportContents, facts: Facts, config: ExportConfig, now: Now) -> str:
    """Why the last point cannot be built on."""
    name = now.instance.name
    if config.source != now.node:
        return f"{name} was on {config.source} at the last one, and is on {now.node} now"
    different = _different(found, facts, config, now.instance)
    if different:
        return different
    if now.guest is None:
        return _written(facts, now)
    counted = now.marks.get(facts.mark, ())
    if not set(range(len(now.instance.disks))) <= set(counted):
        if now.guest.since > config.timestamp:
            return f"{name} was started anew since the last one, and what changed is not known"
        return f"QEMU of {name} does not know what has changed since the last one"
    return ""


def _written(facts: Facts, now: Now) -> str:
    """Why disks that no guest has open may not be what they were."""
    name = now.instance.name
    for disk in now.instance.disks:
        if not facts.stamps.get(disk.uuid):
            return f"{name} does not run, and what changed is counted only while it does"
        if facts.stamps[disk.uuid] != now.stamps.get(disk.uuid):
            return f"{name} does not run, and its disks have been written to since the last one"
    return ""


def _different(
    found: ExportContents, facts: Facts, config: ExportConfig, instance: Instance
) -> str:
    """How the disks, or the files of the last point, are not what they were."""
    sizes = {_disk(dump): disk.size for dump, disk in zip(facts.dumps, config.disks, strict=False)}
    if sizes != {disk.uuid: disk.size for disk in instance.disks}:
        return "its disks are not those of the last one"
    try:
        needed = [
            name
            for dump in facts.dumps
            for name in (dump.name, *export_facts.layers(dump.name, found.dumps))
        ]
    except Rejected as error:
        return error.message
    missing = sorted(set(needed) - set(found.files))
    return f"{', '.join(missing)} is missing in the last one" if missing else ""


def _below(facts: Facts, instance: Instance) -> tuple[Below, ...]:
    by_disk = {_disk(dump): dump for dump in facts.dumps}
    return tuple(
        Below(by_disk[disk.uuid].name, "qcow2" if by_disk[disk.uuid].below else "raw")
        for disk in instance.disks
    )


def _disk(dump: DumpFacts) -> str:
    return dump.name.partition(".")[0]


def names(upon: Upon | None) -> Sequence[str]:
    """The dumps that those of the new point rest on, by disk; none where they rest on none."""
    return [below.name for below in upon.below] if upon is not None else ()
