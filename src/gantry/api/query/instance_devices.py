"""What can be listed of an instance's disks and NICs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gantry.api.query import common
from gantry.api.query.common import field
from gantry.api.query.fields import Field, Kind, Missing, Pattern, numbered
from gantry.api.query.view import View
from gantry.model.entities import Disk, DiskTemplate, Instance, Nic, ReplicaState


def fields() -> list[Field[View, Instance]]:
    """Of all of them together."""
    return [
        field("disk_usage", "DiskUsage", Kind.UNIT, "Space of all its disks", _disk_usage),
        field(
            "disk.count",
            "Disks",
            Kind.NUMBER,
            "How many disks it has",
            lambda view, one: len(one.disks),
        ),
        field(
            "disk.redundancy",
            "Disk_redundancy",
            Kind.OTHER,
            "Of each disk: whether all its replicas are in sync",
            _redundancy,
        ),
        _named("sizes", "Disk_sizes", "Sizes of its disks in MiB", "disk", _disks),
        _named("names", "Disk_names", "Names of its disks", "disk", _disks),
        _named("uuids", "Disk_UUIDs", "Identifiers of its disks", "disk", _disks),
        field(
            "nic.count",
            "NICs",
            Kind.NUMBER,
            "How many NICs it has",
            lambda view, one: len(one.nics),
        ),
        _named("macs", "NIC_MACs", "MAC addresses", "nic", _nics),
        _named("ips", "NIC_IPs", "IP addresses", "nic", _nics),
        _named("names", "NIC_Names", "Names of its NICs", "nic", _nics),
        _named("uuids", "NIC_UUIDs", "Identifiers of its NICs", "nic", _nics),
        _named("modes", "NIC_modes", "Modes of its NICs", "nic", _nics),
        _named("vlans", "NIC_VLANs", "VLANs of its NICs", "nic", _nics),
        _named("bridges", "NIC_bridges", "Bridges of its NICs", "nic", _nics),
        _named("links", "NIC_links", "Links of its NICs", "nic", _nics),
    ]


def of_one() -> list[Pattern[View, Instance]]:
    """Of one by its number, such as ``disk.size/0``."""
    disks = [
        numbered("disk.size/", "Disk", Kind.UNIT, "Size of disk N", _item(_disks, "size")),
        numbered("disk.name/", "DiskName", Kind.TEXT, "Name of disk N", _item(_disks, "name")),
        numbered(
            "disk.uuid/", "DiskUUID", Kind.TEXT, "Identifier of disk N", _item(_disks, "uuid")
        ),
    ]
    nics = [
        numbered(
            f"nic.{name}/",
            f"NIC{name.capitalize()}",
            Kind.TEXT,
            f"{what} of NIC N",
            _item(_nics, attribute),
        )
        for name, attribute, what in (
            ("mac", "mac", "MAC address"),
            ("ip", "ip", "IP address"),
            ("name", "name", "Name"),
            ("uuid", "uuid", "Identifier"),
            ("mode", "mode", "Mode"),
            ("link", "link", "Link"),
            ("vlan", "vlan", "VLAN"),
            ("bridge", "link", "Bridge"),
        )
    ]
    return [*disks, *nics]


def _disk_usage(view: View, one: Instance) -> int:
    return 0 if one.disk_template is DiskTemplate.DISKLESS else sum(d.size for d in one.disks)


def _redundancy(view: View, one: Instance) -> list[str]:
    """Of each disk: ``in-sync`` with all replicas, ``syncing``, ``degraded``; ``none``."""
    return [_redundant(view, one, disk) for disk in one.disks]


def _redundant(view: View, one: Instance, disk: Disk) -> str:
    mirror = view.cluster.mirrors.get(disk.uuid)
    others = [
        replica.state
        for node, replica in (mirror.replicas.items() if mirror is not None else ())
        if node != one.primary_node
    ]
    if ReplicaState.STALE in others:
        return "degraded"
    if ReplicaState.SYNCING in others:
        return "syncing"
    return "in-sync" if others else "none"


def _named(name: str, title: str, doc: str, prefix: str, item: Callable[[Instance], Any]) -> Any:
    """``disk.sizes`` and the like: one value an item."""
    single = {"sizes": "size", "names": "name", "uuids": "uuid"}.get(name, name.removesuffix("s"))
    single = {"bridge": "link"}.get(single, single)
    return field(
        f"{prefix}.{name}",
        title,
        Kind.OTHER,
        doc,
        lambda view, one: [_value(each, single) for each in item(one)],
    )


def _value(item: Disk | Nic, attribute: str) -> Any:
    value = getattr(item, attribute)
    return None if value == "" else value


def _item(
    items: Callable[[Instance], tuple[Disk, ...] | tuple[Nic, ...]], attribute: str
) -> Callable[[View, Instance, int], Any]:
    def value(view: View, one: Instance, number: int) -> Any:
        every = items(one)
        if number >= len(every):
            return Missing.UNAVAILABLE
        return common.or_unavailable(_value(every[number], attribute))

    return value


def _disks(one: Instance) -> tuple[Disk, ...]:
    return one.disks


def _nics(one: Instance) -> tuple[Nic, ...]:
    return one.nics
