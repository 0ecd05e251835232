"""The variables that the scripts of an OS definition get (OS interface, section 2). Pure.

These are all that a script gets: nothing of the agent's own environment. Two of Ganeti's kinds
are never among them, as what they tell of is not there: ``NIC_<n>_NETWORK_…`` (of a NIC in a
network, which ``gnt-network`` makes), and ``DISK_<n>_URI`` with ``EXPORT_DISK_URI`` and
``IMPORT_DISK_URI`` (of a disk that is reached by QEMU alone, ``access=userspace`` of rbd, ext and
gluster). That is also what a script of Ganeti's sees for such a NIC or disk. The paths of disks
are the caller's business, since only it knows the node's root. Each script has one function
here that puts its variables together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gantry.model.entities import DiskTemplate, NicMode, ParameterValue
from gantry.model.errors import Rejected
from gantry.model.live import OsFacts
from gantry.model.orders import DiskSpec, NicSpec, OsRun
from gantry.osdefs import check
from gantry.osdefs.variants import variant_of

PATH: Final = "/sbin:/bin:/usr/sbin:/usr/bin"
_FILE_TEMPLATES: Final = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE)


def variable_of(parameter: str) -> str:
    """The variable of an OS parameter, such as ``OSP_DHCP``."""
    return "OSP_" + parameter.upper().replace("-", "_")


def merge(
    public: Mapping[str, str], private: Mapping[str, str], secret: Mapping[str, str]
) -> dict[str, str]:
    """All parameters in one. Rejected where one is of two kinds, or two become one variable.

    Values are never part of the message: they may be secret.
    """
    merged: dict[str, str] = {}
    owners: dict[str, tuple[str, str]] = {}
    for kind, parameters in (("public", public), ("private", private), ("secret", secret)):
        for name, value in parameters.items():
            variable = variable_of(name)
            if variable in owners:
                other, other_kind = owners[variable]
                raise Rejected(
                    f"the OS parameters {other!r} ({other_kind}) and {name!r} ({kind}) both become "
                    f"{variable}",
                    "give each parameter once, as one kind",
                )
            if "\0" in value or "\0" in name or "=" in name:
                raise Rejected(
                    f"the OS parameter {name!r} has a character that no variable can hold"
                )
            owners[variable] = (name, kind)
            merged[name] = value
    return merged


def core(
    facts: OsFacts, variant: str, parameters: Mapping[str, str], debug_level: int = 0
) -> dict[str, str]:
    """What every script gets, ``verify`` included; ``parameters`` of all kinds, merged."""
    return {
        "OS_API_VERSION": str(check.version(facts.api_versions)),
        "OS_NAME": facts.name,
        "DEBUG_LEVEL": str(debug_level),
        "OS_VARIANT": variant,
        **{variable_of(name): value for name, value in sorted(parameters.items())},
        "PATH": PATH,
    }


def instance(run: OsRun, disk_paths: Sequence[str]) -> dict[str, str]:
    """What all scripts but ``verify`` get of the instance.

    ``disk_paths`` are the real paths on the node, one for each of ``run.disks``.
    """
    variables = {
        "INSTANCE_NAME": run.name,
        "INSTANCE_OS": run.os,
        "INSTANCE_UUID": run.uuid,
        "INSTANCE_CTIME": str(run.ctime),
        "INSTANCE_MTIME": str(run.mtime),
        "INSTANCE_PRIMARY_NODE": run.primary_node[0],
        "INSTANCE_PRIMARY_NODE_NAME": run.primary_node[1],
        "HYPERVISOR": run.hypervisor,
        "DISK_COUNT": str(len(run.disks)),
        "NIC_COUNT": str(len(run.nics)),
        "INSTANCE_SECONDARY_NODES": " ".join(uuid for uuid, _ in run.secondary_nodes),
        "INSTANCE_SECONDARY_NODE_NAMES": " ".join(name for _, name in run.secondary_nodes),
    }
    for number, (disk, path) in enumerate(zip(run.disks, disk_paths, strict=True)):
        variables.update(_disk(f"DISK_{number}_", disk, path, run.hvparams))
    for number, nic in enumerate(run.nics):
        variables.update(_nic(f"NIC_{number}_", nic, run.hvparams))
    for kind, parameters in (("BE", run.beparams), ("HV", run.hvparams)):
        for name, value in sorted(parameters.items()):
            variables[f"INSTANCE_{kind}_{name}"] = str(value)
    return variables


def create(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    reinstall: bool = False,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that ``create`` gets. Rejected where parameters clash (see ``merge``)."""
    variables = _common(facts, run, disk_paths, secrets or {})
    if reinstall:
        variables["INSTANCE_REINSTALL"] = "1"
    return variables


def rename(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    old_name: str,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that ``rename`` gets; ``run.name`` is the new name."""
    return {**_common(facts, run, disk_paths, secrets or {}), "OLD_INSTANCE_NAME": old_name}


def export(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    index: int,
    device: str,
    size_descriptor: int | None = None,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that ``export`` gets for the disk ``index``; it writes the dump to stdout.

    ``device`` is the real path of what is exported: a snapshot, or the disk itself.
    ``size_descriptor`` is the number of the open descriptor for the predicted size in bytes.
    """
    return _stream("EXPORT", facts, run, disk_paths, secrets or {}, index, device, size_descriptor)


def import_disk(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    index: int,
    size_descriptor: int | None = None,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Everything that ``import`` gets for the disk ``index``; it reads the dump from stdin."""
    return _stream(
        "IMPORT",
        facts,
        run,
        disk_paths,
        secrets or {},
        index,
        disk_paths[index],
        size_descriptor,
    )


def _stream(
    kind: str,
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    secrets: Mapping[str, str],
    index: int,
    device: str,
    size_descriptor: int | None,
) -> dict[str, str]:
    """What both directions get. The one name is as old as the scripts in use, the other newer."""
    variables = {
        **_common(facts, run, disk_paths, secrets),
        # As with Ganeti, which never lets these two talk.
        "DEBUG_LEVEL": "0",
        f"{kind}_DEVICE": device,
        f"{kind}_DISK_PATH": device,
        f"{kind}_INDEX": str(index),
    }
    if size_descriptor is not None:
        variables["EXP_SIZE_FD"] = str(size_descriptor)
    return variables


def _common(
    facts: OsFacts, run: OsRun, disk_paths: Sequence[str], secrets: Mapping[str, str]
) -> dict[str, str]:
    parameters = merge(run.parameters, run.private_parameters, secrets)
    variant = variant_of(facts, run.os, force=True)
    return {**core(facts, variant, parameters, run.debug_level), **instance(run, disk_paths)}


def _disk(
    prefix: str, disk: DiskSpec, path: str, hvparams: Mapping[str, ParameterValue]
) -> dict[str, str]:
    variables = {
        "ACCESS": disk.mode.value,
        "UUID": disk.uuid,
        "SIZE": str(disk.size),
        "PATH": path,
    }
    if disk.name is not None:
        variables["NAME"] = disk.name
    if hvparams.get("disk_type"):
        variables["FRONTEND_TYPE"] = str(hvparams["disk_type"])
    if disk.template in _FILE_TEMPLATES:
        variables["BACKEND_TYPE"] = f"file:{disk.driver}"
    return {prefix + name: value for name, value in variables.items()}


def _nic(prefix: str, nic: NicSpec, hvparams: Mapping[str, ParameterValue]) -> dict[str, str]:
    variables = {"MAC": nic.mac, "UUID": nic.uuid}
    if nic.name is not None:
        variables["NAME"] = nic.name
    if nic.ip:
        variables["IP"] = nic.ip
    variables["MODE"] = nic.mode.value
    if nic.mode is NicMode.BRIDGED:
        variables["BRIDGE"] = nic.link
    if nic.link:
        variables["LINK"] = nic.link
    if hvparams.get("nic_type"):
        variables["FRONTEND_TYPE"] = str(hvparams["nic_type"])
    return {prefix + name: value for name, value in variables.items()}
