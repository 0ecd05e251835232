"""Which module holds which operation. Imported one at a time, when first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from gantry.model.errors import Reason, Rejected
from gantry.operations.base import AnyOperation

PLACES: Final[dict[str, str]] = {
    "OP_CLUSTER_SET_PARAMS": "cluster.modify:ClusterModify",
    "OP_CLUSTER_VERIFY": "cluster.verify:ClusterVerify",
    "OP_CLUSTER_VERIFY_DISKS": "cluster.verify_disks:ClusterVerifyDisks",
    "OP_CLUSTER_FIND_REPAIRS": "cluster.find_repairs:ClusterFindRepairs",
    "OP_CLUSTER_DESTROY": "cluster.destroy:ClusterDestroy",
    "OP_MASTER_FAILOVER": "cluster.master_failover:MasterFailover",
    "OP_MASTER_TAKEOVER": "cluster.master_failover:MasterTakeover",
    "OP_NODE_ADD": "node.add:NodeAdd",
    "OP_NODE_JOIN": "node.join:NodeJoin",
    "OP_TOKEN_CREATE": "node.token:TokenCreate",
    "OP_NODE_REMOVE": "node.remove:NodeRemove",
    "OP_NODE_SET_PARAMS": "node.modify:NodeModify",
    "OP_OOB_COMMAND": "node.power:NodePower",
    "OP_NODE_MIGRATE": "node.migrate:NodeMigrate",
    "OP_NODE_EVACUATE": "node.evacuate:NodeEvacuate",
    "OP_NODE_END_GUEST": "node.end_guest:NodeEndGuest",
    "OP_INSTANCE_CREATE": "instance.add:InstanceAdd",
    "OP_INSTANCE_STARTUP": "instance.start:InstanceStart",
    "OP_INSTANCE_SHUTDOWN": "instance.stop:InstanceStop",
    "OP_INSTANCE_REBOOT": "instance.reboot:InstanceReboot",
    "OP_INSTANCE_SET_PARAMS": "instance.modify:InstanceModify",
    "OP_INSTANCE_RENAME": "instance.rename:InstanceRename",
    "OP_INSTANCE_REINSTALL": "instance.reinstall:InstanceReinstall",
    "OP_INSTANCE_GROW_DISK": "instance.grow_disk:InstanceGrowDisk",
    "OP_INSTANCE_RECREATE_DISKS": "instance.recreate_disks:InstanceRecreateDisks",
    "OP_INSTANCE_ACTIVATE_DISKS": "instance.activate_disks:InstanceActivateDisks",
    "OP_INSTANCE_DEACTIVATE_DISKS": "instance.deactivate_disks:InstanceDeactivateDisks",
    "OP_INSTANCE_REMOVE": "instance.remove:InstanceRemove",
    "OP_INSTANCE_SYNC_DISKS": "instance.sync_disks:InstanceSyncDisks",
    "OP_INSTANCE_ADD_MDDRBD": "instance.add_mirror:InstanceAddMirror",
    "OP_INSTANCE_REMOVE_MDDRBD": "instance.remove_mirror:InstanceRemoveMirror",
    "OP_INSTANCE_REPLACE_DISKS": "instance.replace_disks:InstanceReplaceDisks",
    "OP_INSTANCE_FAILOVER": "instance.failover:InstanceFailover",
    "OP_INSTANCE_MIGRATE": "instance.migrate:InstanceMigrate",
    "OP_INSTANCE_MOVE": "instance.move:InstanceMove",
    "OP_BACKUP_EXPORT": "backup.export:BackupExport",
    "OP_BACKUP_VERIFY": "backup.verify:BackupVerify",
    "OP_BACKUP_REMOVE": "backup.remove:BackupRemove",
    "OP_TAGS_SET": "tags.add:TagsAdd",
    "OP_TAGS_DEL": "tags.remove:TagsRemove",
    "OP_HOOK_SWITCH": "hook.switch:HookSwitch",
    "OP_HOOK_PUSH": "hook.push:HookPush",
    "OP_OS_PUSH": "os.push:OsPush",
    "OP_WEBHOOK_ADD": "webhook.add:WebhookAdd",
    "OP_WEBHOOK_REMOVE": "webhook.remove:WebhookRemove",
    "OP_TEST_DELAY": "debug.delay:DebugDelay",
    "OP_TEST_DUMMY": "debug.dummy:DebugDummy",
}
"""Op code to ``module:Class`` below ``gantry.operations``."""

IMPORT: Final = "backup.import_:BackupImport"
"""Of OP_INSTANCE_CREATE in mode import."""
CONVERT: Final = "instance.convert:InstanceConvert"
"""Of OP_INSTANCE_SET_PARAMS with a disk template."""


@cache
def find(opcode: str) -> type[AnyOperation]:
    """The class of an op code, or Rejected."""
    place = PLACES.get(opcode)
    if place is None:
        raise Rejected(
            f"there is no operation {opcode!r}",
            "known are: " + ", ".join(sorted(PLACES)),
            reason=Reason.INPUT,
        )
    return _class(place)


@cache
def _class(place: str) -> type[AnyOperation]:
    module, _, name = place.partition(":")
    kind: type[AnyOperation] = getattr(importlib.import_module(f"gantry.operations.{module}"), name)
    return kind


def load(given: Mapping[str, Any]) -> AnyOperation:
    """An operation from its JSON object, checked against its declaration; or Rejected."""
    opcode = given.get("OP_ID")
    if not isinstance(opcode, str):
        raise Rejected("an operation needs an OP_ID, such as OP_INSTANCE_STARTUP")
    imports = opcode == "OP_INSTANCE_CREATE" and given.get("mode") == "import"
    converts = opcode == "OP_INSTANCE_SET_PARAMS" and given.get("disk_template") is not None
    kind = _class(IMPORT if imports else CONVERT) if imports or converts else find(opcode)
    try:
        return msgspec.convert({k: v for k, v in given.items() if k != "OP_ID"}, kind)
    except msgspec.ValidationError as error:
        raise Rejected(f"{opcode}: {error}", "see the operation's documentation") from None


def dump(operation: AnyOperation) -> dict[str, Any]:
    """The JSON object again."""
    fields: dict[str, Any] = msgspec.to_builtins(operation)
    return {"OP_ID": operation.opcode, **fields}
