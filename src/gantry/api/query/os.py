"""What can be listed of OS definitions, over all nodes that were asked."""

from __future__ import annotations

from typing import Any, Final

from gantry.api.query.common import attribute, field
from gantry.api.query.fields import Field, Fields, Kind
from gantry.api.query.view import View
from gantry.model.oses import ClusterOs, named

DEFAULT: Final = ("name",)


def _status(view: View, one: ClusterOs) -> dict[str, list[dict[str, Any]]]:
    return {
        node: [
            {
                "path": facts.path,
                "valid": facts.valid,
                "problem": facts.problem,
                "variants": list(facts.variants),
                "api_versions": list(facts.api_versions),
            }
            for facts in entries
        ]
        for node, entries in one.node_status.items()
    }


def _by_os(table: dict[str, Any], one: ClusterOs) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name.partition("+")[0] == one.name}


_ALL: Final[list[Field[View, ClusterOs]]] = [
    attribute("name", "Name", Kind.TEXT, "Name of the definition"),
    attribute("valid", "Valid", Kind.BOOL, "Whether it can be used on every node"),
    field(
        "hidden",
        "Hidden",
        Kind.BOOL,
        "Whether lists leave it out",
        lambda view, one: named(view.cluster.cluster.hidden_os, one.name),
    ),
    field(
        "blacklisted",
        "Blacklisted",
        Kind.BOOL,
        "Whether new instances may not use it",
        lambda view, one: named(view.cluster.cluster.blacklisted_os, one.name),
    ),
    field(
        "variants",
        "Variants",
        Kind.OTHER,
        "Variants that all nodes have",
        lambda view, one: list(one.variants),
    ),
    field(
        "full_names",
        "FullNames",
        Kind.OTHER,
        "What can be asked for",
        lambda view, one: list(one.full_names),
    ),
    field(
        "api_versions",
        "ApiVersions",
        Kind.OTHER,
        "Interface versions of all nodes",
        lambda view, one: list(one.api_versions),
    ),
    field(
        "parameters",
        "Parameters",
        Kind.OTHER,
        "Names and descriptions",
        lambda view, one: [list(pair) for pair in one.parameters],
    ),
    field("node_status", "NodeStatus", Kind.OTHER, "What each node has", _status),
    field(
        "problems",
        "Problems",
        Kind.OTHER,
        "Why it cannot be used, by node",
        lambda view, one: one.problems,
    ),
    field(
        "os_hvp",
        "OsHypervisorParameters",
        Kind.OTHER,
        "Its own hypervisor parameters",
        lambda view, one: _by_os(view.cluster.cluster.os_hvp, one),
    ),
    field(
        "osparams",
        "OsParameters",
        Kind.OTHER,
        "Its parameters in the cluster",
        lambda view, one: _by_os(view.cluster.cluster.osparams, one),
    ),
    attribute("trusted", "Trusted", Kind.BOOL, "Whether it runs with the node's rights"),
]
FIELDS: Final[Fields[View, ClusterOs]] = Fields("os", DEFAULT, _ALL)
