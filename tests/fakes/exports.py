"""Exports and transfers of a fake node: what comes is what was announced, none of it is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gantry.model import export_config, names
from gantry.model.backup_orders import (
    CONFIG,
    FACTS,
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
    ReadExport,
    ReadExports,
    ReadPrograms,
    ScriptedDisk,
    SnapshotClose,
    SnapshotOpen,
    TransferAbort,
    TransferClose,
    TransferOpen,
    TransferSend,
    config_digest,
)
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.operations.steps import exporting

if TYPE_CHECKING:
    from tests.fakes.world import FakeNode

Files = dict[str, str]
MOVED = Moved(size=1, seconds=1.0)


class FakeExports:
    """Beside the disks of ``node``. ``whole`` are the exports that count."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.whole: dict[str, Files] = {}
        self.new: dict[str, Files] = {}
        self.old: dict[str, Files] = {}
        self.open: dict[Uuid, Place] = {}
        self.snapshots: set[Uuid] = set()
        """Guests of whose disks the content is kept."""
        self.missing: tuple[str, ...] = ()
        """Programs that are not installed."""
        self.orders: dict[type, Callable[[Any], msgspec.Struct | None]] = {
            TransferOpen: self._open,
            TransferSend: self._send,
            TransferClose: self._close,
            TransferAbort: lambda order: self._abort(order.transfer),
            SnapshotOpen: self._snapshot,
            SnapshotClose: lambda order: self.snapshots.discard(order.guest),
            ExportBegin: lambda order: self.new.update({_name(order.instance): {}}),
            ExportDiscard: lambda order: self._forget(self.new, order.instance),
            ExportDigest: self._digest,
            ExportFinish: self._finish,
            ExportRevert: self._revert,
            ExportSettle: lambda order: self._forget(self.old, order.instance),
            ExportRemove: self._remove,
        }
        self.questions: dict[type, Callable[[Any], msgspec.Struct]] = {
            ReadExports: lambda question: self._list(),
            ReadExport: self._read,
            ReadPrograms: lambda question: Missing(self.missing),
        }

    def state(self) -> dict[str, object]:
        """What must be as before, or as intended."""
        return {
            "exports": {name: sorted(files) for name, files in self.whole.items()},
            "unfinished": (
                sorted(self.new),
                sorted(self.old),
                sorted(self.open),
                sorted(self.snapshots),
            ),
        }

    def _open(self, order: TransferOpen) -> Listening:
        if not names.is_uuid(order.transfer):
            raise Rejected(f"{order.transfer!r} is not a transfer")
        if isinstance(order.place, DumpFile) and order.place.instance not in self.new:
            raise OperationFailed("the export was not begun")
        self.open[order.transfer] = order.place
        return Listening(1)

    def _snapshot(self, order: SnapshotOpen) -> None:
        if not self._node._up(order.guest):
            raise Rejected("the guest is not running", reason=Reason.STATE)
        self.snapshots.add(order.guest)

    def _send(self, order: TransferSend) -> Moved:
        place = order.place
        if isinstance(place, DumpFile):
            if place.name not in self.whole.get(place.instance, {}):
                raise Rejected(f"there is no file {place.name}", reason=Reason.UNKNOWN)
        elif place.guest is not None and place.guest not in self.snapshots:
            raise OperationFailed("the content of its disks is not kept")
        elif _disk(place).path not in self._node.disks:
            raise OperationFailed(f"{_disk(place).path} is not there")
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
            self._node.disks[_disk(place).path].content = "imported"
        return MOVED

    def _abort(self, transfer: Uuid) -> None:
        self.open.pop(transfer, None)

    def _digest(self, order: ExportDigest) -> Digests:
        files = (self.new if order.new else self.whole).get(_name(order.instance), {})
        return Digests({name: f"digest of {files[name]}" for name in order.names})

    def _finish(self, order: ExportFinish) -> None:
        name = _name(order.instance)
        if name not in self.new:
            if self.whole.get(name, {}).get(CONFIG) == order.config:
                return
            raise OperationFailed("what was exported is not there any more")
        files = {**self.new.pop(name), CONFIG: order.config, FACTS: order.facts}
        if name in self.whole:
            self.old[name] = self.whole[name]
        self.whole[name] = files

    def _revert(self, order: ExportRevert) -> None:
        name = _name(order.instance)
        if config_digest(self.whole.get(name, {}).get(CONFIG, "")) == order.digest:
            del self.whole[name]
        if name in self.old and name not in self.whole:
            self.whole[name] = self.old.pop(name)

    def _remove(self, order: ExportRemove) -> None:
        config = self.whole.get(_name(order.instance), {}).get(CONFIG, "")
        if order.before is None or _time(config) <= int(order.before):
            self._forget(self.whole, order.instance)

    @staticmethod
    def _forget(kept: dict[str, Files], instance: str) -> None:
        kept.pop(_name(instance), None)

    def _list(self) -> ExportList:
        return ExportList(
            tuple(
                ExportFacts(name=name, time=_time(files[CONFIG]))
                for name, files in sorted(self.whole.items())
            )
        )

    def _read(self, question: ReadExport) -> ExportContents:
        name = question.directory.rpartition("/")[2]
        if name not in self.whole:
            raise Rejected(f"no export in {question.directory}", reason=Reason.UNKNOWN)
        files = self.whole[name]
        return ExportContents(
            config=files[CONFIG],
            facts=files.get(FACTS, ""),
            files={name: len(text) for name, text in files.items()},
        )


def exported(disk: str, os: str = "noop") -> Files:
    """An export of web7 with one disk of 128 MiB, whose dump is called ``disk``."""
    config = export_config.ExportConfig(
        timestamp=1,
        source="node1.example.com",
        os=os,
        name="web7.example.com",
        maxmem=128,
        minmem=128,
        vcpus=1,
        disk_template="file",
        hypervisor="fake",
        disks=(export_config.ExportedDisk(name=None, size=128, dump=disk),),
        nics=(export_config.ExportedNic(mac="aa:00:00:00:00:07", mode="user"),),
        beparams={"maxmem": "128", "minmem": "128"},
    )
    dump = exporting.DumpFacts(name=disk, scripted=bool(os), sha256="digest of a dump")
    return {
        CONFIG: export_config.write(config),
        FACTS: msgspec.json.encode(exporting.Facts(dumps=(dump,))).decode(),
        disk: "a dump",
    }


def _disk(place: Place) -> DiskSpec:
    assert not isinstance(place, DumpFile)
    return place.run.disks[place.index] if isinstance(place, ScriptedDisk) else place.disk


def _time(config: str) -> int:
    try:
        return export_config.parse(config).timestamp
    except Rejected:
        return 0


def _name(instance: str) -> str:
    return names.host_name(instance, "the name of an instance")
