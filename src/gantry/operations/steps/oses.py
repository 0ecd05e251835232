"""Which OS definition an instance may be installed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gantry.model import names
from gantry.model.entities import Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.live import OsFacts
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import mirrors

FAILED_INSTALL: Final = "gantry:install-failed"
"""The tag of an instance on whose disks a ``create`` failed."""


def changed_parameters(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """``old`` changed by ``new``; the value ``default`` takes a setting away."""
    for key in new:
        names.parameter(key, "an OS parameter")
    return {key: value for key, value in {**old, **new}.items() if value != "default"}


def disjoint(
    public: Mapping[str, str], private: Mapping[str, str], secret: Mapping[str, str] | None = None
) -> None:
    """No parameter is of two kinds, or Rejected; values stay unsaid."""
    kinds = {"public": public, "private": private, "secret": secret or {}}
    owners: dict[str, tuple[str, str]] = {}
    for kind, parameters in kinds.items():
        for name in parameters:
            variable = name.upper().replace("-", "_")
            if variable in owners:
                other, other_kind = owners[variable]
                raise Rejected(
                    f"the OS parameters {other!r} ({other_kind}) and {name!r} ({kind}) both "
                    f"become OSP_{variable}",
                    "give each parameter once, as one kind; NAME=default takes a setting away",
                )
            owners[variable] = (name, kind)


def same_base(os: str, *tables: Mapping[str, object]) -> list[str]:
    """``os`` and those names of the tables that are of the same definition, variants included."""
    base = os.partition("+")[0]
    found = {name for table in tables for name in table if name.partition("+")[0] == base}
    return sorted({os, *found})


def verifying(cluster: Snapshot, instance: Instance) -> list[Uuid]:
    """The nodes that should have the definition; a secondary one that is away is not asked."""
    others = (cluster.nodes[uuid] for uuid in instance.secondary_nodes)
    return [instance.primary_node, *(one.uuid for one in others if mirrors.there(cluster, one))]


def installable(cluster: Snapshot, full: str, node: Node) -> str:
    """The OS's name, valid and alike on all nodes that could tell; or Rejected."""
    names.os_name(full)
    base = full.partition("+")[0]
    listed = sorted({base, full} & set(cluster.cluster.blacklisted_os))
    if listed:
        raise Rejected(
            f"OS {full} is blacklisted",
            f"gnt-os modify --blacklisted=no {' and '.join(listed)} allows it",
            reason=Reason.STATE,
        )
    mine = on(cluster, node, base)
    if mine is None:
        raise Rejected(
            f"node {node.name} has no OS definition {base!r}",
            "gnt-os diagnose shows which node has what; gnt-os push DIR puts it onto every node",
            reason=Reason.UNKNOWN,
            node=node.name,
        )
    if mine.problem:
        raise Rejected(
            f"OS definition {base} on node {node.name} is not valid: {mine.problem}",
            f"mend it in {mine.path} on every node; gnt-os diagnose looks again",
            reason=Reason.STATE,
            node=node.name,
        )
    _alike(cluster, base, node, mine)
    return full


def _alike(cluster: Snapshot, base: str, node: Node, mine: OsFacts) -> None:
    for other in cluster.nodes.values():
        live = cluster.node_live(other.uuid)
        if other.offline or not other.vm_capable or not live.reachable or live.facts is None:
            continue
        theirs = on(cluster, other, base)
        if theirs is None:
            continue
        if mine.digest != theirs.digest:
            differing = sorted(
                name
                for name in {*mine.files, *theirs.files}
                if mine.files.get(name) != theirs.files.get(name)
            )
            raise Rejected(
                f"OS definition {base} differs between nodes {node.name} and {other.name}"
                + (f" (files: {', '.join(differing)})" if differing else ""),
                f"gnt-os diagnose {base} shows what differs, line by line; gnt-os push DIR puts "
                "the same onto every node",
                reason=Reason.STATE,
                node=other.name,
            )


def on(cluster: Snapshot, node: Node, base: str) -> OsFacts | None:
    """What the node said of the definition; None where it has none, or said nothing yet."""
    facts = cluster.node_live(node.uuid).facts
    if facts is None:
        return None
    return next((one for one in facts.oses if one.name == base), None)
