"""The variables that a hook script gets, in both versions of the interface.

The versions differ in the value of HOOKS_VERSION, the case of HOOKS_PHASE, the directory and
the flags that were not given; everything else is the union of both. Names here are without
their prefix ``GANETI_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from gantry.hooks.entry import Phase, Row
from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import Disk, DiskTemplate, Instance, Nic, NicMode
from gantry.model.errors import GantryError
from gantry.model.names import Uuid
from gantry.model.parameters import backend, backend_parameters, hypervisor_parameters
from gantry.model.snapshot import Snapshot

PATH: Final = "/sbin:/bin:/usr/sbin:/usr/bin"
DATA_DIR: Final = "/var/lib/ganeti"
_BRIDGE_MODES: Final = (NicMode.BRIDGED, NicMode.OPENVSWITCH)

Variables = dict[str, str]


def common(
    row: Row | None, version: int, phase: Phase, prefix: str, code: str, cluster: Snapshot
) -> Variables:
    """What every script gets; ``row`` is None after an operation without hooks."""
    found = {
        "HOOKS_VERSION": str(version),
        "HOOKS_PHASE": phase.value.upper() if version == 1 else phase.value,
        "HOOKS_PATH": prefix,
        "OP_ID": row.op_id if row is not None else code,
        "OP_CODE": code,
        "DATA_DIR": DATA_DIR,
        "CLUSTER": cluster.cluster.name,
        "MASTER": cluster.master.name,
    }
    if row is not None:
        found["OBJECT_TYPE"] = row.kind.value
    return found


def operation(
    row: Row, subject: Subject, version: int, cluster: Snapshot, group: Uuid | None = None
) -> Variables:
    """The operation's own variables: those with a ``POST_`` twin; as ``values``."""
    return in_version(row, subject, version, values(row, subject, cluster, group))


def values(
    row: Row, subject: Subject, cluster: Snapshot, group: Uuid | None = None
) -> dict[str, Any]:
    """What there is to tell of the operation, in whichever version.

    ``group``: tell only of the nodes of this group. GantryError where the operation hands over
    a variable that its entry does not name (a fault of ours).
    """
    unknown = subject.values.keys() - set(row.own)
    if unknown:
        raise GantryError(f"{row.opcode} has no hook variable {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    if row.target:
        found["OP_TARGET"] = _target(subject, cluster)
    if subject.instance is not None:
        found.update(_instance(subject, subject.instance, cluster))
    if subject.node is not None:
        addresses = {
            "NODE_NAME": subject.node.name,
            "NODE_PIP": subject.node.primary_ip,
            "NODE_SIP": subject.node.secondary_ip,
        }
        found.update({name: addresses[name] for name in row.node_variables})
    if row.tags:
        found.update(_tags(cluster, group))
    found.update(subject.values)
    _add_seed_names(found)
    return found


def in_version(row: Row, subject: Subject, version: int, values: dict[str, Any]) -> Variables:
    """The same as a script of that version sees it."""
    found = values
    if version == 1:
        found = {**values, **subject.seed_values}
        absent = {name for name, value in subject.seed_values.items() if value is None}
        absent |= {name for name in row.flags if not found.get(name)}
        found = {name: value for name, value in found.items() if name not in absent}
    return {name: str(value) for name, value in found.items()}


def _add_seed_names(found: dict[str, Any]) -> None:
    """The names that version 1 has for what the operation told under those of version 2."""
    if "ADD_MODE" in found:
        found["INSTANCE_ADD_MODE"] = found["ADD_MODE"]
    if found.get("SRC_IMAGES"):
        found["SRC_IMAGE"] = found["SRC_IMAGES"][0]


def complete(common: Variables, before: Variables, after: Variables | None) -> Variables:
    """The whole environment: PATH, and everything else with its prefix.

    ``after`` (post only) comes as a second set, ``GANETI_POST_…``.
    """
    environment = {"PATH": PATH}
    environment.update({f"GANETI_{name}": value for name, value in common.items()})
    for name, value in (after or {}).items():
        environment[f"GANETI_POST_{name}"] = value
    environment.update({f"GANETI_{name}": value for name, value in before.items()})
    return environment


def _target(subject: Subject, cluster: Snapshot) -> str:
    match subject.kind:
        case SubjectKind.INSTANCE if subject.instance is not None:
            return subject.instance.name
        case SubjectKind.NODE if subject.node is not None:
            return subject.node.name
        case _:
            return cluster.cluster.name


def _tags(cluster: Snapshot, group: Uuid | None) -> Variables:
    found = {"CLUSTER_TAGS": " ".join(cluster.cluster.tags)}
    for node in cluster.nodes.values():
        if group in (None, node.group):
            found[f"NODE_TAGS_{node.name}"] = " ".join(node.tags)
            # A shell cannot read a variable with dots and dashes in its name.
            found[f"NODE_TAGS_{re.sub('[^a-zA-Z0-9_]', '_', node.name)}"] = " ".join(node.tags)
    return found


def _instance(subject: Subject, instance: Instance, cluster: Snapshot) -> dict[str, Any]:
    chosen = subject.chosen or instance
    filled = backend(cluster.cluster, chosen)
    template = _template(instance.disks)
    secondaries = " ".join(cluster.nodes[uuid].name for uuid in instance.secondary_nodes)
    found: dict[str, Any] = {
        "INSTANCE_NAME": instance.name,
        "INSTANCE_PRIMARY": cluster.nodes[instance.primary_node].name,
        "INSTANCE_SECONDARIES": secondaries,
        "INSTANCE_SECONDARY": secondaries,
        "INSTANCE_OS_TYPE": instance.os,
        "INSTANCE_OS": instance.os,
        "INSTANCE_STATUS": subject.status or instance.admin_state.value,
        "INSTANCE_MINMEM": filled.minmem,
        "INSTANCE_MAXMEM": filled.maxmem,
        "INSTANCE_MEMORY": filled.maxmem,
        "MEM_SIZE": filled.maxmem,
        "INSTANCE_VCPUS": filled.vcpus,
        "VCPUS": filled.vcpus,
        "INSTANCE_DISK_TEMPLATE": template,
        "INSTANCE_DISK_TYPE": template,
        "DISK_TEMPLATE": template,
        "INSTANCE_HYPERVISOR": instance.hypervisor.value,
        "INSTANCE_TAGS": " ".join(instance.tags),
    }
    found.update(_nics(chosen.nics))
    found.update(_disks(instance.disks, subject.new_disks))
    own = backend_parameters(cluster.cluster, instance.beparams)
    found.update({f"INSTANCE_BE_{name}": value for name, value in own.items()})
    parameters = hypervisor_parameters(
        cluster.cluster, instance.hypervisor, instance.os, instance.hvparams
    )
    found.update({f"INSTANCE_HV_{name}": value for name, value in parameters.items()})
    return found


def _template(disks: tuple[Disk, ...]) -> str:
    """What the disks are, whatever they were made as."""
    found = {disk.template.value for disk in disks}
    return "mixed" if len(found) > 1 else found.pop() if found else DiskTemplate.DISKLESS.value


def _nics(nics: tuple[Nic, ...]) -> Iterator[tuple[str, Any]]:
    for index, nic in enumerate(nics):
        start = f"INSTANCE_NIC{index}_"
        if nic.name:
            yield start + "NAME", nic.name
        yield start + "UUID", nic.uuid
        yield start + "IP", nic.ip or ""
        yield start + "MAC", nic.mac
        yield start + "MODE", nic.mode.value
        yield start + "LINK", nic.link
        yield start + "VLAN", nic.vlan
        if nic.mode in _BRIDGE_MODES:
            yield start + "BRIDGE", nic.link
    yield "INSTANCE_NIC_COUNT", len(nics)
    if nics and nics[0].ip:
        yield "INSTANCE_IP", nics[0].ip


def _disks(disks: tuple[Disk, ...], new: bool) -> Iterator[tuple[str, Any]]:
    for index, disk in enumerate(disks):
        start = f"INSTANCE_DISK{index}_"
        if disk.name:
            yield start + "NAME", disk.name
        yield start + "UUID", "" if new else disk.uuid
        yield start + "SIZE", disk.size
        yield start + "MODE", disk.mode.value
        yield start + "DEV_TYPE", disk.template.value
        if not new:
            yield start + "DRIVER", disk.driver
            yield start + "ID", disk.path
    yield "INSTANCE_DISK_COUNT", len(disks)
    yield "INSTANCE_DISK_SIZES", " ".join(str(disk.size) for disk in disks)
    if disks:
        yield "INSTANCE_DISK_SIZE", disks[0].size
        yield "DISK_SIZE", disks[0].size
    if len(disks) > 1:
        yield "SWAP_SIZE", disks[1].size
