"""Which bundle of which target is to be on which node: pure functions of snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from gantry.model.bundles import HOOKS, os_name
from gantry.model.entities import Bundle, Rollout
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

_PRE: Final = re.compile(r"[^/]+-pre\.d/[a-zA-Z0-9_-]+")
KEPT = 10
"""Bundles of a target that the cluster keeps, beside those that are to be on some node."""
_REMEMBERED: Final = 50
"""How many earlier ones are remembered, for as many rollbacks one after the other."""


def described(target: str, number: int) -> str:
    """A bundle in words; 0 is none."""
    if name := os_name(target):
        return f"version {number} of the OS {name}" if number else f"no pushed version of OS {name}"
    return f"bundle {number} of hooks" if number else "no bundle of hooks"


def program(target: str) -> str:
    """The program whose commands are for that target."""
    return "gnt-os" if os_name(target) else "gnt-hook"


def targets(cluster: Snapshot) -> list[str]:
    """Everything that something was ever pushed of."""
    return sorted(one.target for one in cluster.rollouts.values())


def rollout(cluster: Snapshot, target: str) -> Rollout | None:
    """What was asked for last; None where nothing was ever pushed."""
    return next((one for one in cluster.rollouts.values() if one.target == target), None)


def kept(cluster: Snapshot, target: str) -> list[Bundle]:
    """The bundles of a target that are kept, in the order of their numbers."""
    found = [one for one in cluster.bundles.values() if one.target == target]
    return sorted(found, key=lambda one: one.number)


def bundle(cluster: Snapshot, target: str, number: int) -> Bundle:
    """The bundle of that number; Rejected where there is none (any more)."""
    known = kept(cluster, target)
    for found in known:
        if found.number == number:
            return found
    raise Rejected(
        f"there is no {described(target, number)}",
        numbers(cluster, target) or f"{program(target)} push makes one",
        reason=Reason.UNKNOWN,
    )


def numbers(cluster: Snapshot, target: str) -> str:
    """Which bundles of a target are kept, in words; empty where none is."""
    known = kept(cluster, target)
    return f"kept are {', '.join(str(one.number) for one in known)}" if known else ""


def by_hash(cluster: Snapshot, target: str, sha256: str) -> Bundle | None:
    """The bundle with that hash, if it is kept."""
    return next((one for one in kept(cluster, target) if one.sha256 == sha256), None)


def wanted(cluster: Snapshot, target: str, node: Uuid) -> int | None:
    """The number of the bundle that is to be on a node: 0 for none, None where nobody said."""
    found = rollout(cluster, target)
    return None if found is None else found.nodes.get(node, found.everywhere)


def wanted_hash(cluster: Snapshot, target: str, node: Uuid) -> str | None:
    """Its hash: empty for none, None where nobody said, or where it is not kept any more."""
    number = wanted(cluster, target, node)
    if not number:
        return None if number is None else ""
    return next((one.sha256 for one in kept(cluster, target) if one.number == number), None)


def before(cluster: Snapshot, target: str, node: Uuid) -> int:
    """What was to be on a node before what is to be there: not what was rolled back from.

    Where that was not recorded yet, the bundle with the next lower number that is kept.
    """
    if history := _history(rollout(cluster, target), node):
        return history[-1]
    number = wanted(cluster, target, node) or 0
    return max((one.number for one in kept(cluster, target) if one.number < number), default=0)


def everywhere(had: Rollout, nodes: Sequence[Uuid], number: int, *, back: bool) -> Rollout:
    """That number is to be everywhere; ``nodes`` are there now. ``back``: by a rollback."""
    standing = {had.nodes.get(node, had.everywhere) for node in nodes}
    if len(standing) == 1:
        was, history = standing.pop(), _history(had, nodes[0])
    else:
        was, history = had.everywhere, had.earlier
    return msgspec.structs.replace(
        had,
        everywhere=number,
        earlier=_since(history, was, number, back=back),
        nodes={},
        nodes_earlier={},
    )


def on_nodes(had: Rollout, nodes: Iterable[Uuid], number: int, *, back: bool) -> Rollout:
    """That number is to be on these nodes, whatever is to be everywhere."""
    earlier = {
        node: _since(_history(had, node), had.nodes.get(node, had.everywhere), number, back=back)
        for node in nodes
    }
    return msgspec.structs.replace(
        had,
        nodes={**had.nodes, **dict.fromkeys(earlier, number)},
        nodes_earlier={**had.nodes_earlier, **earlier},
    )


def without(had: Rollout, gone: Iterable[Uuid]) -> Rollout:
    """Nodes that have left the cluster are forgotten."""
    left = set(gone)
    return msgspec.structs.replace(
        had,
        nodes={node: one for node, one in had.nodes.items() if node not in left},
        nodes_earlier={node: one for node, one in had.nodes_earlier.items() if node not in left},
    )


def _history(found: Rollout | None, node: Uuid) -> tuple[int, ...]:
    return () if found is None else found.nodes_earlier.get(node, found.earlier)


def _since(history: tuple[int, ...], was: int, number: int, *, back: bool) -> tuple[int, ...]:
    """What was in force before ``number``, once that has replaced ``was``.

    Who goes back to one that was in force before has rolled back from all that came after it.
    """
    if number == was:
        return history
    if back and number in history:
        return history[: len(history) - 1 - history[::-1].index(number)]
    return (*history, was)[-_REMEMBERED:]


def lost(cluster: Snapshot, target: str, number: int, nodes: Iterable[Uuid]) -> tuple[str, ...]:
    """Scripts that could deny, and that nodes which are to have them lose with that bundle."""
    if target != HOOKS:
        return ()
    new = next((one for one in kept(cluster, target) if one.number == number), None)
    still = _denying(new)
    old = {wanted(cluster, target, node) for node in nodes}
    found = {path for one in kept(cluster, target) if one.number in old for path in _denying(one)}
    return tuple(sorted(found - still))


def _denying(bundle: Bundle | None) -> set[str]:
    files = bundle.files if bundle is not None else ()
    return {one.path for one in files if _PRE.fullmatch(one.path) and one.mode & 0o100}


def behind(cluster: Snapshot) -> dict[tuple[str, Uuid], str]:
    """By target and node the hash that a node that answers is to have, and has not."""
    return {(target, node): sha256 for target, node, sha256 in _behind(cluster)}


def _behind(cluster: Snapshot) -> Iterator[tuple[str, Uuid, str]]:
    for target in targets(cluster):
        for uuid, node in cluster.nodes.items():
            live = cluster.node_live(uuid)
            if live.facts is None or not live.reachable or node.offline:
                continue
            sha256 = wanted_hash(cluster, target, uuid)
            if sha256 is not None and live.facts.bundles.get(target, "") != sha256:
                yield target, uuid, sha256


def surplus(cluster: Snapshot, target: str) -> list[Bundle]:
    """Old bundles that no node is to have."""
    found = rollout(cluster, target)
    used = set() if found is None else _used(found)
    newest = reversed(kept(cluster, target))
    return [one for one in list(newest)[KEPT:] if one.number not in used]


def _used(found: Rollout) -> set[int]:
    """What is to be on some node, and what the next rollback would put there."""
    histories = (found.earlier, *found.nodes_earlier.values())
    before = {number for history in histories for number in history[-1:]}
    return {found.everywhere, *found.nodes.values(), *before}
