"""What an export says of its instance: ``config.ini`` and what goes beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gantry.model.entities import Instance, ParameterValue
from gantry.model.export_config import ExportConfig, ExportedDisk, ExportedNic, kept
from gantry.model.parameters import backend, backend_parameters, hypervisor_parameters
from gantry.model.snapshot import Snapshot

VERSION: Final = 1


class DumpFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A dump: ``scripted`` through the OS definition's scripts, else the disk's raw content."""

    name: str
    scripted: bool
    format: str = "raw"
    mode: str = "rw"
    sha256: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What Ganeti's file has no words for: which parameters are the instance's own, and dumps."""

    version: int = VERSION
    dumps: tuple[DumpFacts, ...] = ()
    own_hvparams: tuple[str, ...] = ()
    own_beparams: tuple[str, ...] = ()
    own_osparams: tuple[str, ...] = ()
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    """OS parameters of several lines, of which Ganeti's file loses the blanks and some lines."""


def config(cluster: Snapshot, instance: Instance, now: float) -> ExportConfig:
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
            ExportedDisk(name=disk.name, size=disk.size, dump=disk.uuid, visible=f"disk/{number}")
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


def facts(instance: Instance, scripted: bool) -> Facts:
    """What goes beside it."""
    return Facts(
        dumps=tuple(
            DumpFacts(
                name=disk.uuid, scripted=scripted, format=disk.format.value, mode=disk.mode.value
            )
            for disk in instance.disks
        ),
        own_hvparams=tuple(sorted(instance.hvparams)),
        own_beparams=tuple(sorted(instance.beparams)),
        own_osparams=tuple(sorted(instance.osparams)),
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


def with_digests(text: str, sha256: Mapping[str, str]) -> str:
    """``Facts`` as text, with what the dumps hash to."""
    found = msgspec.json.decode(text, type=Facts)
    dumps = tuple(
        msgspec.structs.replace(one, sha256=sha256.get(one.name, "")) for one in found.dumps
    )
    return msgspec.json.encode(msgspec.structs.replace(found, dumps=dumps)).decode()


def _lost(values: Mapping[str, str]) -> dict[str, str]:
    again = kept(values)
    return {name: value for name, value in values.items() if again.get(name) != value}


def _texts(values: dict[str, ParameterValue]) -> dict[str, str]:
    return {name: str(value) for name, value in sorted(values.items())}
