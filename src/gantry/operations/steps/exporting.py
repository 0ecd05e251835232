"""What an export says of its instance: ``config.ini`` and what goes beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gantry.model.backup_orders import DumpFile
from gantry.model.entities import Instance, ParameterValue
from gantry.model.export_config import GLOBAL, ExportConfig, ExportedDisk, ExportedNic, kept
from gantry.model.export_facts import DumpFacts, Facts, dump_name
from gantry.model.parameters import backend, backend_parameters, hypervisor_parameters
from gantry.model.snapshot import Snapshot


def config(cluster: Snapshot, instance: Instance, now: float, point: int = 1) -> ExportConfig:
    """The description in Ganeti's form; parameters are filled from all levels, as there."""
    filled = backend(cluster.cluster, instance)
    whole = cluster.cluster
    hvparams = hypervisor_parameters(whole, instance.hypervisor, instance.os, instance.hvparams)
    return ExportConfig(
        timestamp=int(now),
        source=cluster.nodes[instance.primary_node].name,
        os=instance.os,
        name=instance.name,
        maxmem=filled.maxmem,
        minmem=filled.minmem,
        vcpus=filled.vcpus,
        disk_template=instance.disk_template.value,
        hypervisor=instance.hypervisor.value,
        tags=instance.tags,
        disks=tuple(
            ExportedDisk(
                name=disk.name,
                size=disk.size,
                dump=dump_name(disk.uuid, point),
                visible=f"disk/{number}",
            )
            for number, disk in enumerate(instance.disks)
        ),
        nics=tuple(
            ExportedNic(
                mac=nic.mac,
                ip=nic.ip,
                mode=nic.mode.value,
                link=nic.link or None,
                vlan=nic.vlan or None,
                name=nic.name,
            )
            for nic in instance.nics
        ),
        hvparams=_texts(hvparams),
        beparams=_texts(backend_parameters(whole, instance.beparams)),
        osparams=dict(instance.osparams),
        osparams_private=dict(instance.osparams_private),
    )


def facts(
    instance: Instance,
    scripted: bool,
    *,
    point: int = 1,
    mark: str = "",
    below: Sequence[str] = (),
    stamps: Mapping[str, str] | None = None,
) -> Facts:
    """What goes beside it. ``below`` are the dumps that those of the disks rest on, if any."""
    return Facts(
        point=point,
        instance=instance.uuid,
        mark=mark,
        stamps=dict(stamps or {}),
        dumps=tuple(
            DumpFacts(
                name=dump_name(disk.uuid, point),
                scripted=scripted,
                format=disk.format.value,
                mode=disk.mode.value,
                below=rests,
            )
            for disk, rests in zip(instance.disks, below or [""] * len(instance.disks), strict=True)
        ),
        own_hvparams=tuple(sorted(instance.hvparams)),
        own_beparams=tuple(sorted(instance.beparams)),
        own_osparams=tuple(sorted(instance.osparams)),
        hvparams=_texts({name: instance.hvparams[name] for name in GLOBAL & {*instance.hvparams}}),
        osparams=_lost(instance.osparams),
        osparams_private=_lost(instance.osparams_private),
    )


def found_again(read: Mapping[str, str], whole: Mapping[str, str]) -> dict[str, str]:
    """What was read of the file, with what it had lost; what was changed there since counts."""
    lossy = kept(whole)
    return {
        name: whole[name] if name in whole and lossy.get(name) == text else text
        for name, text in read.items()
    }


def dump_file(instance: Instance, name: str, size: int) -> DumpFile:
    """Where a disk's dump goes; ``size`` (MiB) is that of a raw image."""
    return DumpFile(instance=instance.name, name=name, size=size)


def _lost(values: Mapping[str, str]) -> dict[str, str]:
    again = kept(values)
    return {name: value for name, value in values.items() if again.get(name) != value}


def _texts(values: dict[str, ParameterValue]) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(values.items())}
