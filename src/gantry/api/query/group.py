"""What can be listed of node groups."""

from __future__ import annotations

from typing import Final

from gantry.api.query import common
from gantry.api.query.common import attribute, field
from gantry.api.query.fields import Field, Fields, Kind
from gantry.api.query.view import View
from gantry.model.entities import Group, Parameters
from gantry.model.parameters import NODE, fill

DEFAULT: Final = ("name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams")


def filled(view: View, group: Group) -> Parameters:
    """Node parameters of all levels down to the group."""
    return dict(sorted(fill(NODE, view.cluster.cluster.ndparams, group.ndparams).items()))


def _nodes(view: View, group: Group) -> list[str]:
    return [node.name for node in view.members.get(group.uuid, ())]


def _instances(view: View, group: Group) -> list[str]:
    nodes = view.members.get(group.uuid, ())
    return [name for node in nodes for name in view.primaries.get(node.uuid, ())]


_ALL: Final[list[Field[View, Group]]] = [
    *common.entity_fields("group", "Group"),
    attribute("alloc_policy", "AllocPolicy", Kind.TEXT, "Whether new instances may be placed here"),
    field(
        "node_cnt",
        "Nodes",
        Kind.NUMBER,
        "How many nodes it has",
        lambda view, group: len(view.members.get(group.uuid, ())),
    ),
    field("node_list", "NodeList", Kind.OTHER, "Its nodes", _nodes),
    field(
        "pinst_cnt",
        "Instances",
        Kind.NUMBER,
        "How many instances run on its nodes",
        lambda view, group: len(_instances(view, group)),
    ),
    field("pinst_list", "InstanceList", Kind.OTHER, "Those instances", _instances),
    field("ndparams", "NDParams", Kind.OTHER, "Node parameters, all levels", filled),
    field(
        "custom_ndparams",
        "CustomNDParams",
        Kind.OTHER,
        "Node parameters of its own",
        lambda view, group: group.ndparams,
    ),
]
FIELDS: Final[Fields[View, Group]] = Fields("group", DEFAULT, _ALL)
