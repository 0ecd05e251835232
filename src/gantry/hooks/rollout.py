"""Which bundle of hooks is to be on which node: pure functions of snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from gantry.model.entities import HookBundle, HookRollout
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

KEPT = 10
"""Bundles that the cluster keeps, beside those that are to be on some node."""


def rollout(cluster: Snapshot) -> HookRollout | None:
    """What was asked for last; None where nothing was ever pushed."""
    return next(iter(cluster.rollouts.values()), None)


def bundle(cluster: Snapshot, number: int) -> HookBundle:
    """The bundle of that number; Rejected where there is none (any more)."""
    for found in cluster.bundles.values():
        if found.number == number:
            return found
    known = sorted(one.number for one in cluster.bundles.values())
    raise Rejected(
        f"there is no bundle {number}",
        f"kept are {', '.join(map(str, known))}" if known else "gnt-hook push makes one",
        reason=Reason.UNKNOWN,
    )


def by_hash(cluster: Snapshot, sha256: str) -> HookBundle | None:
    """The bundle with that hash, if it is kept."""
    return next((one for one in cluster.bundles.values() if one.sha256 == sha256), None)


def wanted(cluster: Snapshot, node: Uuid) -> int | None:
    """The number of the bundle that is to be on a node: 0 for none, None where nobody said."""
    found = rollout(cluster)
    return None if found is None else found.nodes.get(node, found.everywhere)


def wanted_hash(cluster: Snapshot, node: Uuid) -> str | None:
    """Its hash: empty for none, None where nobody said, or where it is not kept any more."""
    number = wanted(cluster, node)
    if not number:
        return None if number is None else ""
    return next((one.sha256 for one in cluster.bundles.values() if one.number == number), None)


def before(cluster: Snapshot, number: int) -> int:
    """The bundle that came before that one: 0 where it was the first that is kept."""
    older = [one.number for one in cluster.bundles.values() if one.number < number]
    return max(older, default=0)


def behind(cluster: Snapshot) -> dict[Uuid, str]:
    """The nodes that answer and have another bundle than they are to have, with what they want."""
    found: dict[Uuid, str] = {}
    for uuid, node in cluster.nodes.items():
        live, sha256 = cluster.node_live(uuid), wanted_hash(cluster, uuid)
        there = live.facts is not None and live.reachable and not node.offline
        if there and live.facts and sha256 is not None and live.facts.hook_bundle != sha256:
            found[uuid] = sha256
    return found


def surplus(cluster: Snapshot) -> list[HookBundle]:
    """Old bundles that no node is to have."""
    found = rollout(cluster)
    used: Mapping[Uuid, int] = found.nodes if found is not None else {}
    kept = {*used.values(), found.everywhere if found is not None else 0}
    newest = sorted(cluster.bundles.values(), key=lambda one: one.number, reverse=True)
    return [one for one in newest[KEPT:] if one.number not in kept]
