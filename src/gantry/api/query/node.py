"""What can be listed of nodes. Live values come from the snapshot only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gantry.api.query import common
from gantry.api.query.common import attribute, field, text
from gantry.api.query.fields import Field, Fields, Kind, Missing
from gantry.api.query.view import View
from gantry.model.entities import Node, Parameters
from gantry.model.live import NodeFacts
from gantry.model.parameters import NODE, node_parameters

DEFAULT: Final = ("name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt")


def filled(view: View, node: Node) -> Parameters:
    """Node parameters of all levels."""
    whole = view.cluster
    return node_parameters(whole.cluster, whole.groups.get(node.group), node)


def role(view: View, node: Node) -> str:
    """One letter: Master, master Candidate, Regular, Drained, Offline."""
    if node.uuid == view.cluster.cluster.master_node:
        return "M"
    if node.offline:
        return "O"
    if node.drained:
        return "D"
    return "C" if node.master_candidate else "R"


def facts(view: View, node: Node) -> NodeFacts | Missing:
    """What the node said of itself, or why that is not known."""
    if node.offline:
        return Missing.OFFLINE
    live = view.live(node.uuid)
    if not live.reachable or live.facts is None:
        return Missing.NO_DATA
    return live.facts


def _live(
    name: str, title: str, kind: Kind, doc: str, get: Callable[[NodeFacts], Any]
) -> Field[View, Node]:
    def value(view: View, node: Node) -> Any:
        found = facts(view, node)
        return found if isinstance(found, Missing) else get(found)

    return field(name, title, kind, doc, value)


def _group(view: View, node: Node) -> Any:
    group = view.cluster.groups.get(node.group)
    return group.name if group else Missing.UNAVAILABLE


def _reachable(view: View, node: Node) -> Any:
    return Missing.OFFLINE if node.offline else view.live(node.uuid).reachable


def _powered(view: View, node: Node) -> Any:
    return node.powered if filled(view, node)["oob_program"] else Missing.UNAVAILABLE


_STORED: Final[list[Field[View, Node]]] = [
    *common.entity_fields("node", "Node"),
    field("role", "Role", Kind.TEXT, "M, C, R, D or O", role),
    attribute("offline", "Offline", Kind.BOOL, "Whether Gantry leaves it alone"),
    attribute("drained", "Drained", Kind.BOOL, "Whether it takes no new instances"),
    attribute("master_candidate", "MasterC", Kind.BOOL, "Whether it may become the master"),
    attribute("master_capable", "MasterCapable", Kind.BOOL, "Whether it could ever"),
    attribute("vm_capable", "VMCapable", Kind.BOOL, "Whether it can run instances"),
    field(
        "master",
        "IsMaster",
        Kind.BOOL,
        "Whether it is the master",
        lambda view, node: node.uuid == view.cluster.cluster.master_node,
    ),
    text("pip", "PrimaryIP", "Primary address", lambda view, node: node.primary_ip),
    text("sip", "SecondaryIP", "Secondary address", lambda view, node: node.secondary_ip),
    field(
        "powered",
        "Powered",
        Kind.BOOL,
        "Whether it has power, as recorded, where a program can switch it",
        _powered,
    ),
    text("group", "Group", "Group of nodes", _group),
    text("group.uuid", "GroupUUID", "Identifier of the group", lambda view, node: node.group),
    field("ndparams", "NodeParameters", Kind.OTHER, "Node parameters, all levels", filled),
    field(
        "custom_ndparams",
        "CustomNodeParameters",
        Kind.OTHER,
        "Node parameters of its own",
        lambda view, node: node.ndparams,
    ),
    field(
        "pinst_cnt",
        "Pinst",
        Kind.NUMBER,
        "How many instances have it as primary node",
        lambda view, node: len(view.primaries.get(node.uuid, ())),
    ),
    field(
        "sinst_cnt",
        "Sinst",
        Kind.NUMBER,
        "How many instances have it as secondary node",
        lambda view, node: len(view.secondaries.get(node.uuid, ())),
    ),
    field(
        "pinst_list",
        "PriInstances",
        Kind.OTHER,
        "Instances with it as primary node",
        lambda view, node: list(view.primaries.get(node.uuid, ())),
    ),
    field(
        "sinst_list",
        "SecInstances",
        Kind.OTHER,
        "Instances with it as secondary node",
        lambda view, node: list(view.secondaries.get(node.uuid, ())),
    ),
]
_SAID: Final[list[Field[View, Node]]] = [
    field("reachable", "Reachable", Kind.BOOL, "Whether its agent answers", _reachable),
    _live("dtotal", "DTotal", Kind.UNIT, "Disk space for instances", lambda one: one.disk_total),
    _live("dfree", "DFree", Kind.UNIT, "Disk space that is free", lambda one: one.disk_free),
    _live("mtotal", "MTotal", Kind.UNIT, "Memory", lambda one: one.memory_total),
    _live(
        "mnode", "MNode", Kind.UNIT, "Memory that the node itself uses", lambda one: one.memory_node
    ),
    _live("mfree", "MFree", Kind.UNIT, "Memory that is free now", lambda one: one.memory_free),
    _live("ctotal", "CTotal", Kind.NUMBER, "CPUs", lambda one: one.cpus),
    _live("csockets", "CSockets", Kind.NUMBER, "CPU sockets", lambda one: one.cpu_sockets),
    _live("cnodes", "CNodes", Kind.NUMBER, "NUMA nodes", lambda one: Missing.UNAVAILABLE),
    _live("cnos", "CNOs", Kind.NUMBER, "CPUs of the node's own", lambda one: Missing.UNAVAILABLE),
    _live("sptotal", "SpTotal", Kind.NUMBER, "Spindles", lambda one: Missing.UNAVAILABLE),
    _live("spfree", "SpFree", Kind.NUMBER, "Free spindles", lambda one: Missing.UNAVAILABLE),
    _live(
        "bootid", "BootID", Kind.TEXT, "Random at every start of the node", lambda one: one.boot_id
    ),
    _live("version", "Version", Kind.TEXT, "Version of its agent", lambda one: one.version),
    field(
        "hv_state",
        "HypervisorState",
        Kind.OTHER,
        "Not kept",
        lambda view, node: Missing.UNAVAILABLE,
    ),
    field(
        "disk_state", "DiskState", Kind.OTHER, "Not kept", lambda view, node: Missing.UNAVAILABLE
    ),
]
FIELDS: Final[Fields[View, Node]] = Fields(
    "node", DEFAULT, [*_STORED, *_SAID], [common.parameters("ndp/", NODE, "node", filled)]
)
