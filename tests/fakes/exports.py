"""Exports and transfers of a fake node: what comes is what was announced, none of it is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from tests.fakes.export_files import (
    Files,
    config_of,
    digest_of,
    disk_of,
    facts_of,
    indexes_of,
    name_of,
    of_another,
    points_of,
    time_of,
)

from gantry.model import export_facts, names
from gantry.model.backup_orders import (
    ChangedBlocks,
    Digests,
    DumpFile,
    ExportBegin,
    ExportContents,
    ExportDigest,
    ExportDiscard,
    ExportFacts,
    ExportFinish,
    ExportList,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    Listening,
    Missing,
    Moved,
    Place,
    PointFacts,
    ReadExport,
    ReadExports,
    ReadPrograms,
    SnapshotClose,
    SnapshotOpen,
    TransferAbort,
    TransferClose,
    TransferOpen,
    TransferSend,
    config_digest,
)
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.increment_orders import (
    ChangesClose,
    ChangesOpen,
    ExportAside,
    ExportPrune,
    ExportReplace,
    ExportRestore,
    ExportUnchanged,
    Marks,
    MarksDrop,
    ReadMarks,
    ReadStamps,
    Stamps,
)
from gantry.model.names import Uuid

if TYPE_CHECKING:
    from tests.fakes.world import FakeNode

MOVED = Moved(size=1, seconds=1.0)


class FakeExports:
    """Beside the disks of ``node``. ``whole`` are the exports that count."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.whole: dict[str, Files] = {}
        self.new: dict[str, Files] = {}
        self.old: dict[str, Files] = {}
        self.removed: dict[str, Files] = {}
        self.open: dict[Uuid, Place] = {}
        self.snapshots: set[Uuid] = set()
        """Guests of whose disks the content is kept."""
        self.changes: set[Uuid] = set()
        """Guests of whose disks there are files with what has changed."""
        self.marks: dict[Uuid, dict[str, tuple[int, ...]]] = {}
        self.stamps: dict[str, str] = {}
        """Of disks, by uuid."""
        self.missing: tuple[str, ...] = ()
        """Programs that are not installed."""
        self.orders: dict[type, Callable[[Any], msgspec.Struct | None]] = {
            TransferOpen: self._open,
            TransferSend: self._send,
            TransferClose: self._close,
            TransferAbort: lambda order: self._abort(order.transfer),
            SnapshotOpen: self._snapshot,
            SnapshotClose: self._snapshot_end,
            ChangesOpen: self._changes,
            ChangesClose: self._changes_end,
            MarksDrop: lambda order: self._drop(order.guest, order.marks),
            ExportUnchanged: self._unchanged,
            ExportPrune: self._prune,
            ExportReplace: self._replace,
            ExportAside: self._aside,
            ExportRestore: self._restore,
            ExportBegin: self._begin,
            ExportDiscard: lambda order: self._forget(self.new, order.instance),
            ExportDigest: self._digest,
            ExportFinish: self._finish,
            ExportRevert: self._revert,
            ExportSettle: self._settle,
            ExportRemove: self._remove,
        }
        self.questions: dict[type, Callable[[Any], msgspec.Struct]] = {
            ReadExports: lambda question: self._list(),
            ReadExport: self._read,
            ReadPrograms: lambda question: Missing(self.missing),
            ReadStamps: lambda question: Stamps(self.stamps),
            ReadMarks: lambda question: Marks(self.marks.get(question.guest, {})),
        }

    def state(self) -> dict[str, object]:
        """What must be as before, or as intended."""
        return {
            "exports": {name: sorted(files) for name, files in self.whole.items()},
            "unfinished": (
                sorted(self.new),
                sorted(self.old),
                sorted(self.removed),
                sorted(self.open),
                sorted(self.snapshots),
                sorted(self.changes),
            ),
            # Which mark is random: how many there are must be as before, or as intended.
            "marks": {guest: len(marks) for guest, marks in self.marks.items() if marks},
        }

    def _open(self, order: TransferOpen) -> Listening:
        if not names.is_uuid(order.transfer):
            raise Rejected(f"{order.transfer!r} is not a transfer")
        if isinstance(order.place, DumpFile) and order.place.instance not in self.new:
            raise OperationFailed("the export was not begun")
        self.open[order.transfer] = order.place
        return Listening(1)

    def _snapshot(self, order: SnapshotOpen) -> None:
        if not self._node.is_up(order.guest):
            raise Rejected("the guest is not running", reason=Reason.STATE)
        self.snapshots.add(order.guest)
        if order.mark is not None:
            self.marks[order.guest] = {order.mark: indexes_of(order.disks)}

    def _snapshot_end(self, order: SnapshotClose) -> None:
        self.snapshots.discard(order.guest)
        self._drop(order.guest, () if order.drop is None else (order.drop,))

    def _changes(self, order: ChangesOpen) -> None:
        if not self._node.is_up(order.guest):
            raise Rejected("the guest is not running", reason=Reason.STATE)
        known = self.marks.get(order.guest, {})
        if order.since not in known:
            raise OperationFailed("what has changed is not known any more")
        self.marks[order.guest] = {
            order.since: known[order.since],
            order.mark: indexes_of(order.disks),
        }
        self.changes.add(order.guest)

    def _changes_end(self, order: ChangesClose) -> None:
        self.changes.discard(order.guest)
        self._drop(order.guest, () if order.drop is None else (order.drop,))

    def _drop(self, guest: Uuid, marks: tuple[str, ...]) -> None:
        for mark in marks:
            self.marks.get(guest, {}).pop(mark, None)

    def _begin(self, order: ExportBegin) -> None:
        name = name_of(order.instance)
        old = self.whole.get(name, {})
        if order.upon is not None and (not old or points_of(old)[-1] != order.upon):
            raise OperationFailed(f"the export does not end with point {order.upon} any more")
        self.new[name] = {} if order.upon is None else dict(old)

    def _unchanged(self, order: ExportUnchanged) -> None:
        new = self.new.get(name_of(order.instance))
        if new is None:
            raise OperationFailed("the export was not begun")
        new.update({dump.name: "nothing new" for dump in order.dumps})

    def _prune(self, order: ExportPrune) -> None:
        """Without merging: what is in a fake's dumps is not looked at."""
        files = dict(self.whole.get(name_of(order.instance), {}))
        points = points_of(files) if files else ()
        if order.point not in points:
            return
        if len(points) == 1:
            raise Rejected("it is all there is", reason=Reason.STATE)
        first = points[0]
        for name in export_facts.names(order.point, first):
            files.pop(name, None)
        left = [number for number in points if number != order.point]
        facts = export_facts.names(left[-1], first)[1]
        if order.point > left[-1] and facts in files:
            known = msgspec.structs.replace(export_facts.decode(files[facts]), highest=order.point)
            files[facts] = export_facts.encode(known)
        if order.point == first:
            for old, new in zip(
                export_facts.names(points[1], first),
                export_facts.names(points[1], points[1]),
                strict=True,
            ):
                files[new] = files.pop(old)
        self.new[name_of(order.instance)] = files

    def _replace(self, order: ExportReplace) -> None:
        name = name_of(order.instance)
        new, files = self.new.get(name), self.whole.get(name)
        if new and files and order.point in set(points_of(files)) - set(points_of(new)):
            self.old[name] = files
            self.whole[name] = self.new.pop(name)

    def _aside(self, order: ExportAside) -> None:
        name = name_of(order.instance)
        files = self.whole.get(name, {})
        if files and time_of(config_of(files)) <= int(order.before):
            self.removed[name] = self.whole.pop(name)

    def _restore(self, order: ExportRestore) -> None:
        name = name_of(order.instance)
        kept = self.removed if order.point is None else self.old
        if order.point is not None:
            left = set(points_of(kept.get(name, {}))) - {order.point}
            if order.point not in points_of(kept.get(name, {})) or left != set(self._now(name)):
                return
            self.whole.pop(name)
        if name in kept and name not in self.whole:
            self.whole[name] = kept.pop(name)

    def _now(self, name: str) -> tuple[int, ...]:
        return points_of(self.whole[name]) if name in self.whole else ()

    def _settle(self, order: ExportSettle) -> None:
        name = name_of(order.instance)
        if not order.digest or digest_of(self.whole.get(name, {})) == order.digest:
            self.old.pop(name, None)
        self.removed.pop(name, None)

    def _send(self, order: TransferSend) -> Moved:
        place = order.place
        if isinstance(place, DumpFile):
            if place.name not in self.whole.get(place.instance, {}):
                raise Rejected(f"there is no file {place.name}", reason=Reason.UNKNOWN)
        elif isinstance(place, ChangedBlocks):
            if not self.changes:
                raise OperationFailed("there is no file with what has changed")
        elif place.guest is not None and place.guest not in self.snapshots:
            raise OperationFailed("the content of its disks is not kept")
        elif disk_of(place).path not in self._node.disks:
            raise OperationFailed(f"{disk_of(place).path} is not there")
        return MOVED

    def _close(self, order: TransferClose) -> Moved:
        place = self.open.pop(order.transfer, None)
        if place is None:
            raise OperationFailed(f"node {self._node.name} does not receive this any more")
        if order.failed:
            raise OperationFailed("the connection broke")
        if isinstance(place, DumpFile):
            self.new[place.instance][place.name] = "a dump"
        else:
            self._node.disks[disk_of(place).path].content = "imported"
        return MOVED

    def _abort(self, transfer: Uuid) -> None:
        self.open.pop(transfer, None)

    def _digest(self, order: ExportDigest) -> Digests:
        files = (self.new if order.new else self.whole).get(name_of(order.instance), {})
        return Digests({name: f"digest of {files[name]}" for name in order.names})

    def _finish(self, order: ExportFinish) -> None:
        name = name_of(order.instance)
        if name not in self.new:
            if digest_of(self.whole.get(name, {})) == config_digest(order.config, order.point):
                return
            raise OperationFailed("what was exported is not there any more")
        files = self.new.pop(name)
        first = 1 if order.point == 1 else points_of(files)[0]
        config, facts = export_facts.names(order.point, first)
        files = {**files, config: order.config, facts: order.facts}
        if name in self.whole:
            self.old[name] = self.whole[name]
        self.whole[name] = files

    def _revert(self, order: ExportRevert) -> None:
        name = name_of(order.instance)
        if digest_of(self.whole.get(name, {})) == order.digest:
            del self.whole[name]
        if name in self.old and name not in self.whole:
            self.whole[name] = self.old.pop(name)

    def _remove(self, order: ExportRemove) -> None:
        files = self.whole.get(name_of(order.instance), {})
        if files and (len(points_of(files)) > 1 or of_another(files, order.owner)):
            return
        config = config_of(files)
        if order.before is None or time_of(config) <= int(order.before):
            self._forget(self.whole, order.instance)

    @staticmethod
    def _forget(kept: dict[str, Files], instance: str) -> None:
        kept.pop(name_of(instance), None)

    def _list(self) -> ExportList:
        return ExportList(
            tuple(
                ExportFacts(
                    name=name,
                    time=time_of(config_of(files)),
                    points=tuple(
                        PointFacts(number=number, time=0.0, incremental=number > 1, size=1)
                        for number in points_of(files)
                    ),
                )
                for name, files in sorted(self.whole.items())
            )
        )

    def _read(self, question: ReadExport) -> ExportContents:
        name = question.directory.rpartition("/")[2]
        if name not in self.whole:
            raise Rejected(f"no export in {question.directory}", reason=Reason.UNKNOWN)
        files = self.whole[name]
        points = points_of(files)
        point = points[-1] if question.point is None else question.point
        if point not in points:
            raise Rejected(f"no point {point}", reason=Reason.UNKNOWN)
        config, facts = export_facts.names(point, points[0])
        return ExportContents(
            config=files[config],
            facts=files.get(facts, ""),
            files={name: len(text) for name, text in files.items()},
            point=point,
            points=points,
            dumps=tuple(dump for each in points for dump in facts_of(files, each, points[0]).dumps),
        )
