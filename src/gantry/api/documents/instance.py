"""Everything about one instance: what is stored, filled in from all levels, and what is true."""

from __future__ import annotations

from typing import Any

from gantry.api.query import instance as fields
from gantry.api.query import status
from gantry.api.query.view import View
from gantry.model.entities import Disk, Instance, Nic, Replica
from gantry.model.live import GuestLive, MirrorPhase
from gantry.model.names import Uuid


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
        "disks": [_disk(view, one, number, disk) for number, disk in enumerate(one.disks)],
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


def _disk(view: View, one: Instance, number: int, disk: Disk) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "index": number,
        "name": disk.name,
        "uuid": disk.uuid,
        "size": disk.size,
        "mode": disk.mode,
        "template": disk.template,
        "format": disk.format,
        "path": disk.path,
    }
    mirror = view.cluster.mirrors.get(disk.uuid)
    if mirror is not None:
        shown["generation"] = disk.generation
        shown["on_degraded"] = disk.on_degraded
        shown["resync_rate"] = disk.resync_rate
        shown["replicas"] = [
            _replica(view, one, disk, node, replica)
            for node, replica in sorted(mirror.replicas.items(), key=lambda item: item[1].number)
        ]
    return shown


def _replica(view: View, one: Instance, disk: Disk, node: Uuid, replica: Replica) -> dict[str, Any]:
    """``id`` is what remove-mirror wants; ``copied`` of a copy that is being made, in bytes."""
    primary = node == one.primary_node
    shown: dict[str, Any] = {
        "id": replica.number,
        "node": view.node_name(node),
        "state": "primary" if primary else replica.state,
    }
    guest = view.live(one.primary_node).guests.get(one.uuid)
    for live in guest.mirrors if guest is not None and not primary else ():
        if (live.disk, live.node) == (disk.uuid, node):
            shown["mirror"] = live.phase
            if live.phase is MirrorPhase.COPYING and live.total:
                shown["copied"] = f"{100 * live.done // live.total}%"
            if live.reason:
                shown["reason"] = live.reason
    return shown


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
