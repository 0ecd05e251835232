"""Everything about one instance: what is stored, filled in from all levels, and what is true."""

from __future__ import annotations

from typing import Any

from gantry.api.query import instance as fields
from gantry.api.query import status
from gantry.api.query.view import View
from gantry.model.entities import Disk, Instance, Nic
from gantry.model.live import GuestLive


def document(view: View, one: Instance) -> dict[str, Any]:
    """Sizes in MiB; private OS parameters are named and not shown."""
    group = view.group_of(one.primary_node)
    return {
        "name": one.name,
        "uuid": one.uuid,
        "status": status.of(view, one),
        "admin_state": one.admin_state,
        "admin_state_source": one.admin_state_source,
        "live": _live(view, one),
        "pnode": view.node_name(one.primary_node),
        "pnode.group": group.name if group else None,
        "snodes": [view.node_name(node) for node in one.secondary_nodes],
        "os": one.os,
        "hypervisor": one.hypervisor,
        "machine": one.machine or None,
        "cpu_model": one.cpu_model or None,
        "network_port": one.network_port,
        "beparams": fields.backend(view, one),
        "hvparams": fields.hypervisor(view, one),
        "osparams": fields.os(view, one),
        "custom_beparams": one.beparams,
        "custom_hvparams": one.hvparams,
        "custom_osparams": one.osparams,
        "disk_template": one.disk_template,
        "disks": [_disk(number, disk) for number, disk in enumerate(one.disks)],
        "nics": [_nic(number, nic) for number, nic in enumerate(one.nics)],
        "tags": sorted(one.tags),
        "ctime": one.ctime,
        "mtime": one.mtime,
        "serial_no": one.serial_no,
    }


def _live(view: View, one: Instance) -> dict[str, Any] | None:
    """The guest as its node last said, up or not; None where the node knows none."""
    if one.uuid in view.elsewhere:
        node, guest = view.elsewhere[one.uuid]
    else:
        node = one.primary_node
        found = view.live(node).guests.get(one.uuid)
        if found is None:
            return None
        guest = found
    return {"node": view.node_name(node), "known": view.live(node).reachable, **_guest(guest)}


def _guest(guest: GuestLive) -> dict[str, Any]:
    return {
        "state": guest.state,
        "since": guest.since,
        "memory": guest.memory,
        "vcpus": guest.vcpus,
        "pid": guest.pid or None,
        "reason": guest.reason or None,
    }


def _disk(number: int, disk: Disk) -> dict[str, Any]:
    return {
        "index": number,
        "name": disk.name,
        "uuid": disk.uuid,
        "size": disk.size,
        "mode": disk.mode,
        "template": disk.template,
        "format": disk.format,
        "path": disk.path,
    }


def _nic(number: int, nic: Nic) -> dict[str, Any]:
    return {
        "index": number,
        "name": nic.name,
        "uuid": nic.uuid,
        "mac": nic.mac,
        "ip": nic.ip,
        "mode": nic.mode,
        "link": nic.link or None,
        "vlan": nic.vlan or None,
    }
