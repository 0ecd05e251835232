"""Which code carries out which order and answers which question; nothing is done here.

Code that is wanted daily stands here itself. Code for rare orders is named as ``module:function``
and loaded with the first of them: an agent is on every node, and its memory is the guests'.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from gantry.agent import (
    bundles,
    candidate_files,
    disks,
    files,
    guests,
    hook_files,
    hook_records,
    hook_switches,
    hooks,
    node,
    os_scripts,
    succession,
)
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model import (
    backup_orders,
    hook_runs,
    hook_switch,
    image_orders,
    increment_orders,
    moving_orders,
    orders,
    os_texts,
    replica_orders,
)
from gantry.model import hook_files as hook_inventory
from gantry.model.orders import AnyOrder, AnyQuestion

Carry: TypeAlias = Callable[[Parts, Any, Task], Awaitable[msgspec.Struct]]
Answer: TypeAlias = Callable[[Parts, Any], Awaitable[msgspec.Struct]]

_ROOM: Final = "gantry.agent."

ORDERS: Final[Mapping[type[msgspec.Struct], Carry | str]] = {
    orders.DiskCreate: disks.create,
    orders.DiskRemove: disks.remove,
    orders.DiskMove: disks.move,
    orders.DiskGrow: "disk_sizes:grow",
    orders.DiskPlug: "disk_plugs:plug",
    orders.DiskUnplug: "disk_plugs:unplug",
    orders.DiskConvert: "disk_plugs:convert",
    orders.GuestStart: guests.start,
    orders.GuestStop: guests.stop,
    orders.GuestReset: guests.reset,
    orders.GuestForget: guests.forget,
    orders.OsCreate: os_scripts.create,
    image_orders.ImageWrite: "images:write",
    orders.OsInstall: "installing:install",
    orders.OsRename: os_scripts.rename,
    orders.HooksRun: hooks.run,
    orders.BundleInstall: bundles.install,
    orders.BundleRestore: bundles.restore,
    orders.PowerRun: "power:run",
    orders.FilesWrite: files.write,
    hook_switch.HookSwitch: hook_switches.switch,
    orders.NodeLeave: node.leave,
    orders.Delay: node.delay,
    orders.MasterReady: succession.ready,
    orders.StatePiece: succession.piece,
    orders.StateComplete: succession.complete,
    orders.MasterFiles: candidate_files.write,
    backup_orders.TransferOpen: "receiving:open_end",
    backup_orders.TransferSend: "sending:send",
    backup_orders.TransferClose: "receiving:close_end",
    backup_orders.TransferAbort: "receiving:abort_end",
    backup_orders.SnapshotOpen: "snapshots:begin",
    backup_orders.SnapshotClose: "snapshots:end",
    backup_orders.ExportBegin: "exports:begin",
    backup_orders.ExportDiscard: "exports:discard",
    backup_orders.ExportDigest: "exports:digest",
    backup_orders.ExportFinish: "exports:finish",
    backup_orders.ExportRevert: "exports:revert",
    backup_orders.ExportSettle: "exports:settle",
    backup_orders.ExportRemove: "exports:remove",
    increment_orders.ChangesOpen: "changes:begin",
    increment_orders.ChangesClose: "changes:end",
    increment_orders.MarksDrop: "changes:drop_marks",
    increment_orders.ExportUnchanged: "changes:none",
    increment_orders.ExportPrune: "pruning:prune",
    increment_orders.ExportReplace: "pruning:replace",
    increment_orders.ExportAside: "aside:remove",
    increment_orders.ExportRestore: "aside:restore",
    replica_orders.ReplicaServe: "replicas:serve",
    replica_orders.ReplicaPrepare: "replicas:prepare",
    replica_orders.ReplicaForgo: "replicas:forgo",
    replica_orders.ReplicaClose: "replicas:close",
    replica_orders.ReplicaMark: "replicas:mark",
    replica_orders.ReplicaReserve: "replica_sizes:reserve",
    replica_orders.ReplicaGrow: "replica_sizes:grow",
    replica_orders.ReplicasLook: "replicas:look",
    replica_orders.MirrorAttach: "replicas:attach",
    replica_orders.MirrorRelease: "replicas:release",
    replica_orders.MirrorWait: "mirror_waits:wait",
    replica_orders.DisksActivate: "activations:activate",
    replica_orders.DisksDeactivate: "activations:deactivate",
    moving_orders.GuestDescribe: "moving:describe",
    moving_orders.GuestReceive: "moving:receive",
    moving_orders.GuestSend: "moving:send",
    moving_orders.GuestResume: "moving:resume",
    moving_orders.GuestTakeBack: "moving:take_back",
    moving_orders.GuestDrop: "moving:drop",
}
QUESTIONS: Final[Mapping[type[msgspec.Struct], Answer | str]] = {
    orders.OsVerify: os_scripts.verify,
    image_orders.ReadImage: "images:look",
    os_texts.ReadOsTexts: os_scripts.texts,
    orders.OsDiagnose: os_scripts.diagnose,
    orders.ReadFacts: node.facts,
    orders.ReadGuests: guests.read,
    orders.ReadConsole: guests.console,
    orders.ReadMaster: succession.seen,
    orders.ReadMasterFiles: candidate_files.held,
    orders.Inspect: node.inspect,
    orders.ReadDisks: "disk_sizes:read",
    orders.Resolve: node.resolve,
    orders.ReadBundle: bundles.read,
    orders.ReadHooks: hook_files.listed,
    hook_inventory.ReadHookFiles: hook_files.inventory,
    hook_runs.ReadHookRuns: hook_records.page,
    hook_runs.ReadHookRun: hook_records.record,
    backup_orders.ReadExports: "exports:listed",
    backup_orders.ReadExport: "exports:read",
    backup_orders.ReadPrograms: "sending:programs",
    replica_orders.ReadReplicas: "replicas:read",
    increment_orders.ReadMarks: "changes:marks",
    increment_orders.ReadStamps: "changes:stamps",
}


async def carry_out(parts: Parts, order: AnyOrder, task: Task) -> msgspec.Struct:
    """Carry an order out."""
    carry: Carry = loaded(ORDERS[type(order)])
    return await carry(parts, order, task)


async def answer(parts: Parts, question: AnyQuestion) -> msgspec.Struct:
    """Answer a question."""
    reply: Answer = loaded(QUESTIONS[type(question)])
    return await reply(parts, question)


def loaded(code: Callable[..., Any] | str) -> Callable[..., Any]:
    """The function, or the one of that name (``module:function``, of this room)."""
    if not isinstance(code, str):
        return code
    module, _, function = code.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(_ROOM + module), function)
    return found
