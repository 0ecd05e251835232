"""What can be listed of instances. Live values come from the snapshot only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gantry.api.query import common, instance_devices, status
from gantry.api.query.common import field, text
from gantry.api.query.fields import Field, Fields, Kind, Missing
from gantry.api.query.view import View
from gantry.model.entities import (
    AdminState,
    DiskTemplate,
    Instance,
    Parameters,
)
from gantry.model.live import GuestLive
from gantry.model.parameters import (
    BACKEND,
    FAKE,
    KVM,
    backend_parameters,
    hypervisor_parameters,
    os_parameters,
)

DEFAULT: Final = ("name", "hypervisor", "os", "pnode", "status", "oper_ram")


def backend(view: View, one: Instance) -> Parameters:
    """Filled backend parameters."""
    return backend_parameters(view.cluster.cluster, one.beparams)


def hypervisor(view: View, one: Instance) -> Parameters:
    """Filled hypervisor parameters."""
    return hypervisor_parameters(view.cluster.cluster, one.hypervisor, one.os, one.hvparams)


def os(view: View, one: Instance) -> dict[str, str]:
    """Filled OS parameters; of private ones only the names."""
    public = os_parameters(view.cluster.cluster.osparams, one.os, one.osparams)
    private = os_parameters(view.cluster.cluster.osparams_private, one.os, one.osparams_private)
    return {**public, **dict.fromkeys(private, "<private>")}


def guest(view: View, one: Instance) -> GuestLive | Missing | None:
    """The guest where it is up; None where it certainly is not; or why that is not known."""
    node = view.node(one.primary_node)
    if node is None or node.offline:
        return Missing.OFFLINE
    live = view.live(one.primary_node)
    if not live.reachable:
        return Missing.NO_DATA
    if one.uuid in view.elsewhere:
        return view.elsewhere[one.uuid][1]
    found = live.guests.get(one.uuid)
    return found if found is not None and found.up else None


def _of_guest(get: Callable[[GuestLive], Any]) -> Callable[[View, Instance], Any]:
    def value(view: View, one: Instance) -> Any:
        found = guest(view, one)
        if isinstance(found, GuestLive):
            return get(found)
        return Missing.UNAVAILABLE if found is None else found

    return value


def _oper_state(view: View, one: Instance) -> bool | Missing:
    found = guest(view, one)
    return found if isinstance(found, Missing) else found is not None


def _group(view: View, node: Any, attribute: str) -> Any:
    group = view.group_of(node)
    return Missing.UNAVAILABLE if group is None else getattr(group, attribute)


def _custom_nics(view: View, one: Instance) -> list[dict[str, str]]:
    return [{"mode": nic.mode, "link": nic.link, "vlan": nic.vlan} for nic in one.nics]


def _console(view: View, one: Instance) -> dict[str, Any] | Missing:
    found = guest(view, one)
    if isinstance(found, Missing):
        return found
    if found is None:
        return Missing.UNAVAILABLE
    node = view.elsewhere[one.uuid][0] if one.uuid in view.elsewhere else one.primary_node
    return {"instance": one.name, "kind": "gantry", "host": view.node_name(node)}


def _identity() -> list[Field[View, Instance]]:
    return [
        *common.entity_fields("instance", "Instance"),
        text("os", "OS", "Operating system definition", lambda view, one: one.os),
        common.attribute("hypervisor", "Hypervisor", Kind.TEXT, "Hypervisor"),
        common.attribute("disk_template", "Disk_template", Kind.TEXT, "How its disks are kept"),
        common.attribute("admin_state", "Admin_state", Kind.TEXT, "What it should be"),
        common.attribute(
            "admin_state_source", "Admin_state_source", Kind.TEXT, "Who set the admin state"
        ),
        field(
            "admin_up",
            "Autostart",
            Kind.BOOL,
            "Whether it should be up",
            lambda view, one: one.admin_state is AdminState.UP,
        ),
        field(
            "disks_active",
            "DisksActive",
            Kind.BOOL,
            "Whether its disks are in use",
            lambda view, one: bool(one.disks) and one.admin_state is AdminState.UP,
        ),
        field(
            "network_port",
            "Network_port",
            Kind.NUMBER,
            "Port of its VNC console",
            lambda view, one: common.or_unavailable(one.network_port),
        ),
        field(
            "forthcoming",
            "Forthcoming",
            Kind.BOOL,
            "Whether only its name and resources are reserved",
            lambda view, one: False,
        ),
    ]


def _places() -> list[Field[View, Instance]]:
    return [
        text(
            "pnode",
            "Primary_node",
            "Node that it runs on",
            lambda view, one: view.node_name(one.primary_node),
        ),
        text(
            "pnode.group",
            "PrimaryNodeGroup",
            "Group of that node",
            lambda view, one: _group(view, one.primary_node, "name"),
        ),
        text(
            "pnode.group.uuid",
            "PrimaryNodeGroupUUID",
            "Identifier of that group",
            lambda view, one: _group(view, one.primary_node, "uuid"),
        ),
    ]


def _copies() -> list[Field[View, Instance]]:
    return [
        field(
            "snodes",
            "Secondary_Nodes",
            Kind.OTHER,
            "Nodes with copies of its disks",
            lambda view, one: [view.node_name(node) for node in one.secondary_nodes],
        ),
        field(
            "snodes.group",
            "SecondaryNodesGroups",
            Kind.OTHER,
            "Groups of those nodes",
            lambda view, one: [_group(view, node, "name") for node in one.secondary_nodes],
        ),
        field(
            "snodes.group.uuid",
            "SecondaryNodesGroupsUUID",
            Kind.OTHER,
            "Identifiers of those groups",
            lambda view, one: [_group(view, node, "uuid") for node in one.secondary_nodes],
        ),
    ]


def _live() -> list[Field[View, Instance]]:
    return [
        text("status", "Status", "What is to be said of it now", status.of),
        field("oper_state", "Running", Kind.BOOL, "Whether it is up", _oper_state),
        field(
            "oper_ram",
            "Memory",
            Kind.UNIT,
            "Memory that it has now",
            _of_guest(lambda live: live.memory),
        ),
        field(
            "oper_vcpus",
            "VCPUs",
            Kind.NUMBER,
            "Virtual CPUs that it has now",
            _of_guest(lambda live: live.vcpus),
        ),
        field("console", "Console", Kind.OTHER, "Where its console is", _console),
    ]


def _levels() -> list[Field[View, Instance]]:
    return [
        field("beparams", "BackendParams", Kind.OTHER, "Backend parameters, all levels", backend),
        field(
            "hvparams",
            "HypervisorParams",
            Kind.OTHER,
            "Hypervisor parameters, all levels",
            hypervisor,
        ),
        field("osparams", "OpSystemParams", Kind.OTHER, "OS parameters, all levels", os),
    ]


def _own() -> list[Field[View, Instance]]:
    return [
        field(
            "custom_beparams",
            "CustomBackendParams",
            Kind.OTHER,
            "Backend parameters of its own",
            lambda view, one: one.beparams,
        ),
        field(
            "custom_hvparams",
            "CustomHypervisorParams",
            Kind.OTHER,
            "Hypervisor parameters of its own",
            lambda view, one: one.hvparams,
        ),
        field(
            "custom_osparams",
            "CustomOpSystemParams",
            Kind.OTHER,
            "OS parameters of its own",
            lambda view, one: one.osparams,
        ),
        field(
            "custom_nicparams",
            "CustomNicParams",
            Kind.OTHER,
            "NIC parameters of its own",
            _custom_nics,
        ),
        field(
            "vcpus",
            "ConfigVCPUs",
            Kind.NUMBER,
            "Virtual CPUs that it should have",
            lambda view, one: backend(view, one)["vcpus"],
        ),
    ]


FIELDS: Final[Fields[View, Instance]] = Fields(
    "instance",
    DEFAULT,
    [
        *_identity(),
        *_places(),
        *_copies(),
        *_live(),
        *_levels(),
        *_own(),
        *instance_devices.fields(),
    ],
    [
        *instance_devices.of_one(),
        common.parameters("be/", BACKEND, "backend", backend),
        common.parameters("hv/", {**KVM, **FAKE}, "hypervisor", hypervisor),
    ],
    {
        "sda_size": "disk.size/0",
        "sdb_size": "disk.size/1",
        "ip": "nic.ip/0",
        "mac": "nic.mac/0",
        "bridge": "nic.bridge/0",
        "nic_mode": "nic.mode/0",
        "nic_link": "nic.link/0",
        "be/memory": "be/maxmem",
    },
)


def depends(view: View, one: Instance) -> tuple[Any, ...]:
    """All that a row is made of, beside the cluster, its groups and its nodes."""
    mirrored = one.disk_template is DiskTemplate.MIRROR
    replicas = tuple(view.cluster.mirrors.get(disk.uuid) for disk in one.disks) if mirrored else ()
    live = view.cluster.live.get(one.primary_node)
    if live is None:
        return (one, None, False, None, replicas)
    guest = live.guests.get(one.uuid)
    return (one, guest, live.reachable, view.elsewhere.get(one.uuid), replicas)
