"""The one place that says which operation runs which scripts on which nodes.

Version 1 is the founding document's (hook interface, table 1), version 2 is what scripts in
the field know. An operation without an entry here runs no scripts of its own. Entries of
operations that do not exist yet cost nothing and wait for them.
"""

from __future__ import annotations

from typing import Final

from gantry.hooks.entry import Phase, Row, Seed, Where
from gantry.hooks.subject import SubjectKind
from gantry.model.errors import GantryError

__all__ = ["CONFIG_UPDATE", "HOOKED", "ROWS", "Phase", "Row", "Seed", "Where", "row"]

CONFIG_UPDATE: Final = "config-update"
"""The special directory that runs on the master after every change of the configuration."""

CLUSTER, NODE, GROUP = SubjectKind.CLUSTER, SubjectKind.NODE, SubjectKind.GROUP
INSTANCE, NETWORK = SubjectKind.INSTANCE, SubjectKind.NETWORK
NOWHERE, MASTER, ALL, TARGET = Where.NOWHERE, Where.MASTER, Where.ALL, Where.TARGET
OWN, WITH_TARGET = Where.INSTANCE, Where.INSTANCE_AND_TARGET
PRIMARY, SECONDARIES = Where.PRIMARY_AND_TARGET, Where.SECONDARIES_AND_TARGET
OTHERS, OTHERS_AND_NODE = Where.OTHERS, Where.OTHERS_AND_NODE
MASTER_AND_NODE = Where.MASTER_AND_NODE
MEMBERS, MASTER_AND_MEMBERS = Where.MEMBERS, Where.MASTER_AND_MEMBERS

_NODE_FLAGS = ("MASTER_CANDIDATE", "OFFLINE", "DRAINED", "MASTER_CAPABLE", "VM_CAPABLE")
_MASTER_IP = ("MASTER_NETDEV", "MASTER_IP", "MASTER_NETMASK", "CLUSTER_IP_VERSION")
_NETWORK = ("NETWORK_NAME", "NETWORK_SUBNET", "NETWORK_GATEWAY", "NETWORK_SUBNET6",
            "NETWORK_GATEWAY6", "NETWORK_MAC_PREFIX", "NETWORK_TAGS")  # fmt: skip
_CONNECTION = ("GROUP_NAME", "GROUP_NETWORK_MODE", "GROUP_NETWORK_LINK", "GROUP_NETWORK_VLAN",
               *_NETWORK)  # fmt: skip
_SIDES = ("OLD_PRIMARY", "NEW_PRIMARY", "OLD_SECONDARY", "NEW_SECONDARY")

# fmt: off
_CLUSTERS = (
    Row("OP_CLUSTER_POST_INIT", CLUSTER, "cluster-init", NOWHERE, MASTER,
        seed=Seed("OP_INIT_CLUSTER", MASTER, MASTER)),
    Row("OP_CLUSTER_DESTROY", CLUSTER, "cluster-destroy", NOWHERE, MASTER),
    Row("OP_CLUSTER_RENAME", CLUSTER, "cluster-rename", MASTER, ALL, own=("NEW_NAME",)),
    Row("OP_CLUSTER_SET_PARAMS", CLUSTER, "cluster-modify", MASTER, MASTER,
        own=("NEW_VG_NAME",)),
    Row("OP_CLUSTER_VERIFY", CLUSTER, "cluster-verify", NOWHERE, ALL,
        seed=Seed("OP_CLUSTER_VERIFY", NOWHERE, ALL),
        code="OP_CLUSTER_VERIFY_GROUP", target=False, tags=True, grouped=True),
    Row("OP_MASTER_FAILOVER", CLUSTER, "master-failover", TARGET, ALL,
        seed=Seed("OP_MASTER_FAILOVER", TARGET, ALL),
        own=("OLD_MASTER", "NEW_MASTER"), only_seed=True),
    Row("OP_MASTER_TAKEOVER", CLUSTER, "master-failover", NOWHERE, ALL,
        seed=Seed("OP_MASTER_FAILOVER", NOWHERE, ALL),
        code="OP_MASTER_FAILOVER", own=("OLD_MASTER", "NEW_MASTER"), only_seed=True),
    Row("OP_CLUSTER_IP_TURNUP", CLUSTER, "master-ip-turnup", TARGET, TARGET,
        own=_MASTER_IP, target=False),
    Row("OP_CLUSTER_IP_TURNDOWN", CLUSTER, "master-ip-turndown", TARGET, TARGET,
        own=_MASTER_IP, target=False),
)
_NODES = (
    Row("OP_NODE_ADD", NODE, "node-add", OTHERS, OTHERS_AND_NODE,
        seed=Seed("OP_ADD_NODE", OTHERS, OTHERS_AND_NODE),
        own=("MASTER_CAPABLE", "VM_CAPABLE"), node_variables=("NODE_NAME", "NODE_PIP", "NODE_SIP")),
    Row("OP_NODE_REMOVE", NODE, "node-remove", OTHERS, OTHERS,
        seed=Seed("OP_REMOVE_NODE", OTHERS, OTHERS),
        node_variables=("NODE_NAME",), leaving=True),
    Row("OP_NODE_SET_PARAMS", NODE, "node-modify", MASTER_AND_NODE, MASTER_AND_NODE,
        own=_NODE_FLAGS),
    Row("OP_NODE_MIGRATE", NODE, "node-migrate", MASTER, MASTER,
        own=("ALLOW_RUNTIME_CHANGES",), node_variables=("NODE_NAME",), target=False),
)
_GROUPS = (
    Row("OP_GROUP_ADD", GROUP, "group-add", MASTER, MASTER, own=("GROUP_NAME",), target=False),
    Row("OP_GROUP_SET_PARAMS", GROUP, "group-modify", MASTER, MASTER,
        own=("GROUP_NAME", "NEW_ALLOC_POLICY"), target=False),
    Row("OP_GROUP_REMOVE", GROUP, "group-remove", MASTER, MASTER,
        own=("GROUP_NAME",), target=False),
    Row("OP_GROUP_RENAME", GROUP, "group-rename", MASTER_AND_MEMBERS, MASTER_AND_MEMBERS,
        own=("OLD_NAME", "NEW_NAME"), target=False),
    Row("OP_GROUP_EVACUATE", GROUP, "group-evacuate", MASTER_AND_MEMBERS, MASTER_AND_MEMBERS,
        own=("GROUP_NAME", "TARGET_GROUPS"), target=False),
)
_NETWORKS = (
    Row("OP_NETWORK_ADD", NETWORK, "network-add", MASTER, MASTER, own=_NETWORK, target=False),
    Row("OP_NETWORK_SET_PARAMS", NETWORK, "network-modify", MASTER, MASTER,
        own=_NETWORK, target=False),
    Row("OP_NETWORK_REMOVE", NETWORK, "network-remove", MASTER, MASTER,
        own=("NETWORK_NAME",), target=False),
    Row("OP_NETWORK_RENAME", NETWORK, "network-rename", MASTER_AND_MEMBERS, MASTER_AND_MEMBERS,
        own=("OLD_NAME", "NEW_NAME"), target=False),
    Row("OP_NETWORK_CONNECT", NETWORK, "network-connect", MEMBERS, MEMBERS,
        own=_CONNECTION, target=False),
    Row("OP_NETWORK_DISCONNECT", NETWORK, "network-disconnect", MEMBERS, MEMBERS,
        own=_CONNECTION, target=False),
)
_INSTANCES = (
    Row("OP_INSTANCE_CREATE", INSTANCE, "instance-add", OWN, OWN,
        seed=Seed("OP_INSTANCE_ADD", OWN, OWN),
        own=("ADD_MODE", "SRC_NODE", "SRC_PATH", "SRC_IMAGES")),
    Row("OP_INSTANCE_REINSTALL", INSTANCE, "instance-reinstall", OWN, OWN),
    Row("OP_INSTANCE_RENAME", INSTANCE, "instance-rename", OWN, OWN, own=("INSTANCE_NEW_NAME",)),
    Row("OP_INSTANCE_REMOVE", INSTANCE, "instance-remove", MASTER, OWN,
        seed=Seed("OP_INSTANCE_REMOVE", MASTER, MASTER), own=("SHUTDOWN_TIMEOUT",)),
    Row("OP_INSTANCE_MOVE", INSTANCE, "instance-move", PRIMARY, PRIMARY,
        own=("TARGET_NODE", "SHUTDOWN_TIMEOUT")),
    Row("OP_INSTANCE_CHANGE_GROUP", INSTANCE, "instance-change-group", MASTER, MASTER,
        own=("TARGET_GROUPS",)),
    Row("OP_INSTANCE_STARTUP", INSTANCE, "instance-start", OWN, OWN,
        seed=Seed("OP_INSTANCE_START", OWN, OWN), own=("FORCE",), flags=("FORCE",)),
    Row("OP_INSTANCE_SHUTDOWN", INSTANCE, "instance-stop", OWN, OWN,
        seed=Seed("OP_INSTANCE_SHUTDOWN", OWN, OWN, "instance-shutdown"), own=("TIMEOUT",)),
    Row("OP_INSTANCE_REBOOT", INSTANCE, "instance-reboot", OWN, OWN,
        own=("IGNORE_SECONDARIES", "REBOOT_TYPE", "SHUTDOWN_TIMEOUT")),
    Row("OP_INSTANCE_SET_PARAMS", INSTANCE, "instance-modify", OWN, OWN,
        seed=Seed("OP_INSTANCE_MODIFY", OWN, OWN), own=("NEW_DISK_TEMPLATE", "RUNTIME_MEMORY")),
    Row("OP_INSTANCE_FAILOVER", INSTANCE, "instance-failover", SECONDARIES, WITH_TARGET,
        seed=Seed("OP_INSTANCE_FAILOVER", WITH_TARGET, WITH_TARGET),
        own=("IGNORE_CONSISTENCY", "SHUTDOWN_TIMEOUT", *_SIDES, "FAILOVER_CLEANUP"),
        flags=("IGNORE_CONSISTENCY",)),
    Row("OP_INSTANCE_MIGRATE", INSTANCE, "instance-migrate", WITH_TARGET, WITH_TARGET,
        own=("MIGRATE_LIVE", "MIGRATE_CLEANUP", *_SIDES, "ALLOW_RUNTIME_CHANGES")),
    Row("OP_BACKUP_EXPORT", INSTANCE, "instance-export", PRIMARY, PRIMARY,
        seed=Seed("OP_BACKUP_EXPORT", OWN, OWN),
        own=("EXPORT_MODE", "EXPORT_NODE", "EXPORT_DO_SHUTDOWN", "SHUTDOWN_TIMEOUT",
             "REMOVE_INSTANCE")),
    Row("OP_INSTANCE_RECREATE_DISKS", INSTANCE, "instance-recreate-disks", OWN, OWN),
    Row("OP_INSTANCE_GROW_DISK", INSTANCE, "disk-grow", OWN, OWN,
        own=("DISK", "AMOUNT", "ABSOLUTE")),
    Row("OP_INSTANCE_REPLACE_DISKS", INSTANCE, "mirrors-replace", PRIMARY, PRIMARY,
        seed=Seed("OP_INSTANCE_REPLACE_DISKS", OWN, OWN, "mirror-replace"),
        own=("MODE", "NEW_SECONDARY", "OLD_SECONDARY")),
    Row("OP_INSTANCE_ADD_MDDRBD", INSTANCE, "mirror-add", WITH_TARGET, WITH_TARGET,
        seed=Seed("OP_INSTANCE_ADD_MDDRBD", WITH_TARGET, WITH_TARGET),
        own=("NEW_SECONDARY", "DISK_NAME"), only_seed=True),
    Row("OP_INSTANCE_REMOVE_MDDRBD", INSTANCE, "mirror-remove", OWN, OWN,
        seed=Seed("OP_INSTANCE_REMOVE_MDDRBD", OWN, OWN),
        own=("OLD_SECONDARY", "DISK_NAME", "DISK_ID"), only_seed=True),
)
# fmt: on

ROWS: Final[dict[str, Row]] = {
    row.opcode: row for row in (*_CLUSTERS, *_NODES, *_GROUPS, *_NETWORKS, *_INSTANCES)
}
HOOKED: Final = frozenset(ROWS)
"""The op codes that have hooks."""


def row(opcode: str) -> Row:
    """The entry of an operation; GantryError where it has none (a fault of ours)."""
    found = ROWS.get(opcode)
    if found is None:
        raise GantryError(f"operation {opcode} has no entry in the table of hooks")
    return found
