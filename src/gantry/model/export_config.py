"""``config.ini`` of an export, as Ganeti writes and reads it. Pure.

Everything is text there; what is not set is ``None``, a literal string. Sizes are MiB.
"""

from __future__ import annotations

import configparser
import io
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gantry.model.errors import Reason, Rejected

VERSION: Final = "0"
_NOTHING: Final = "None"
GLOBAL: Final = frozenset({"migration_bandwidth", "migration_mode", "migration_port", "xen_cmd"})
"""Hypervisor parameters that Ganeti takes of clusters alone: an instance with one is refused."""
_SECTIONS: Final = ("export", "instance", "hypervisor", "backend", "os", "os_private")
_MOST: Final = 16
_LATEST: Final = 1 << 40
"""Of times, in seconds."""
_LARGEST: Final = 1 << 40
"""Of sizes in MiB."""
_PERCENT: Final = re.compile("%%|%")


class _Literal(configparser.Interpolation):
    """``%%`` is a percent sign. What refers to other values is refused, as neither Ganeti nor we
    write it: a few that refer to each other could fill the memory.
    """

    def before_get(
        self, parser: Any, section: str, option: str, value: str, defaults: Mapping[str, str]
    ) -> str:
        def one(found: re.Match[str]) -> str:
            if found[0] == "%%":
                return "%"
            raise configparser.InterpolationSyntaxError(
                option, section, f"{section}: {option} has a % that stands alone"
            )

        return _PERCENT.sub(one, value)


class ExportedDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk; ``dump`` is the name of its file, empty where it could not be exported."""

    name: str | None
    size: int
    dump: str
    visible: str = ""
    """Such as ``disk/0``."""


class ExportedNic(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC, as text."""

    mac: str
    ip: str | None = None
    mode: str | None = None
    link: str | None = None
    vlan: str | None = None
    network: str | None = None
    name: str | None = None


class ExportConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Parameters are filled from all levels, as text."""

    timestamp: int
    source: str
    os: str
    name: str
    maxmem: int
    minmem: int
    vcpus: int
    disk_template: str
    hypervisor: str
    tags: tuple[str, ...] = ()
    disks: tuple[ExportedDisk, ...] = ()
    nics: tuple[ExportedNic, ...] = ()
    hvparams: dict[str, str] = {}
    beparams: dict[str, str] = {}
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}


def write(config: ExportConfig) -> str:
    """The file's text."""
    parser = _parser()
    parser["export"] = _escaped(
        {
            "version": VERSION,
            "timestamp": str(config.timestamp),
            "source": config.source,
            "os": config.os,
            "compression": "none",
        }
    )
    parser["instance"] = _escaped(_instance(config))
    hvparams = {name: value for name, value in config.hvparams.items() if name not in GLOBAL}
    for section, values in (
        ("hypervisor", hvparams),
        ("backend", config.beparams),
        ("os", config.osparams),
        ("os_private", config.osparams_private),
    ):
        parser[section] = _escaped(values)
    out = io.StringIO()
    parser.write(out)
    return out.getvalue()


def parse(text: str) -> ExportConfig:
    """The values again, ours or Ganeti's; Rejected where it is no such file."""
    parser = _parser()
    try:
        parser.read_string(text)
        found = {name: dict(parser[name]) if name in parser else {} for name in _SECTIONS}
        return _config(found)
    except (configparser.Error, KeyError, ValueError, IndexError, OverflowError) as error:
        raise Rejected(
            f"config.ini of the export cannot be understood: {_shortly(error)}",
            "it must be as gnt-backup export wrote it",
            reason=Reason.STATE,
        ) from None


def kept(values: Mapping[str, str]) -> dict[str, str]:
    """What is read again where these are written: not what begins a line, nor lines with a #."""
    written, read = _parser(), _parser()
    written["os"] = _escaped(values)
    out = io.StringIO()
    written.write(out)
    read.read_string(out.getvalue())
    return dict(read["os"])


def _config(found: Mapping[str, dict[str, str]]) -> ExportConfig:
    export, instance = found["export"], found["instance"]
    if export["version"] != VERSION:
        raise ValueError(f"version {export['version']!r} is not known")
    memory = instance.get("maxmem") or instance["memory"]
    return ExportConfig(
        timestamp=_number(str(int(float(export.get("timestamp", "0")))), "timestamp", _LATEST),
        source=export.get("source", ""),
        os=_optional(export.get("os")) or "",
        name=instance["name"],
        maxmem=_number(memory, "maxmem"),
        minmem=_number(instance.get("minmem") or memory, "minmem"),
        vcpus=_number(instance["vcpus"], "vcpus"),
        disk_template=instance.get("disk_template", ""),
        hypervisor=instance.get("hypervisor", ""),
        tags=tuple(instance.get("tags", "").split()),
        disks=tuple(_disk(instance, n) for n in _disks(instance)),
        nics=tuple(_nic(instance, n) for n in range(_count(instance, "nic_count"))),
        hvparams=found["hypervisor"],
        beparams=found["backend"],
        osparams=found["os"],
        osparams_private=found["os_private"],
    )


def _disks(instance: Mapping[str, str]) -> list[int]:
    """The numbers of the disks. Ganeti leaves out one of which it could make no snapshot."""
    count = _count(instance, "disk_count")
    found = [n for n in range(_MOST) if f"disk{n}_size" in instance]
    return found if len(found) == count else list(range(count))


def _count(instance: Mapping[str, str], name: str) -> int:
    return _number(instance.get(name, "0"), name, _MOST)


def _number(text: str, name: str, most: int = _LARGEST) -> int:
    number = int(text)
    if not 0 <= number <= most:
        raise ValueError(f"{name} is {number}")
    return number


def _disk(instance: Mapping[str, str], number: int) -> ExportedDisk:
    start = f"disk{number}_"
    return ExportedDisk(
        name=_optional(instance.get(start + "name")),
        size=_number(instance[start + "size"], start + "size"),
        dump=_optional(instance.get(start + "dump")) or "",
        visible=instance.get(start + "ivname", ""),
    )


def _nic(instance: Mapping[str, str], number: int) -> ExportedNic:
    def value(name: str) -> str | None:
        return _optional(instance.get(f"nic{number}_{name}"))

    return ExportedNic(
        mac=value("mac") or "",
        ip=value("ip"),
        mode=value("mode"),
        link=value("link"),
        vlan=value("vlan"),
        network=value("network"),
        name=value("name"),
    )


def _instance(config: ExportConfig) -> dict[str, str]:
    found = {
        "name": config.name,
        "maxmem": str(config.maxmem),
        "minmem": str(config.minmem),
        "memory": str(config.maxmem),
        "vcpus": str(config.vcpus),
        "disk_template": config.disk_template,
        "hypervisor": config.hypervisor,
        "tags": " ".join(config.tags),
    }
    for number, nic in enumerate(config.nics):
        for name in ("mac", "ip", "network", "name", "mode", "link", "vlan"):
            value = getattr(nic, name)
            found[f"nic{number}_{name}"] = _NOTHING if value is None else value
    found["nic_count"] = str(len(config.nics))
    for number, disk in enumerate(config.disks):
        start = f"disk{number}_"
        found[start + "ivname"] = disk.visible or f"disk/{number}"
        found[start + "dump"] = disk.dump
        found[start + "size"] = str(disk.size)
        found[start + "name"] = _NOTHING if disk.name is None else disk.name
    found["disk_count"] = str(len(config.disks))
    return found


def _optional(text: str | None) -> str | None:
    return None if text in (None, "", _NOTHING) else text


def _escaped(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value.replace("%", "%%") for name, value in values.items()}


def _parser() -> configparser.ConfigParser:
    """As Ganeti's own, except that names keep their case."""
    parser = configparser.ConfigParser(strict=False, interpolation=_Literal())
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    return parser


def _shortly(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
