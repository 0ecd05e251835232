"""The cluster's view of OS definitions, out of what each node reports. Pure.

For ``gnt-os list``, ``diagnose`` and ``info``, for cluster verify and for the check whether an
OS may be used. The rules are section 1 of the OS interface. How a node finds and checks its
definitions is no business of this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from gantry.model.live import OsFacts

_Item = TypeVar("_Item")


class ClusterOs(msgspec.Struct, frozen=True, kw_only=True):
    """One OS definition over all nodes that were asked.

    ``problems`` maps the name of a node to why the definition cannot be used there; ``variants``,
    ``parameters`` and ``api_versions`` are what all nodes have; ``node_status`` has every
    node's entries in the order found (none where it is missing); ``differing`` maps nodes whose
    files are not those of most nodes to the files that differ.
    """

    name: str
    valid: bool
    problems: dict[str, str] = {}
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    api_versions: tuple[int, ...] = ()
    trusted: bool = True
    node_status: dict[str, tuple[OsFacts, ...]] = {}
    differing: dict[str, tuple[str, ...]] = {}

    @property
    def full_names(self) -> tuple[str, ...]:
        """What can be asked for: the name, or ``name+variant`` for every variant."""
        if not self.variants:
            return (self.name,)
        return tuple(f"{self.name}+{variant}" for variant in self.variants)


class Complaint(msgspec.Struct, frozen=True, kw_only=True):
    """What cluster verify says of a definition on a node (error code ENODEOS).

    ``harmless``: it is used as it should be, and something is to be tidied.
    """

    node: str
    os: str
    message: str
    harmless: bool = False


def combine(per_node: Mapping[str, tuple[OsFacts, ...]]) -> tuple[ClusterOs, ...]:
    """All definitions that any node has, sorted by name.

    ``per_node`` maps the names of the nodes that count (online, can run guests) to what they
    found. A definition is valid only if the first one of that name is valid on every node.
    """
    names = sorted({facts.name for entries in per_node.values() for facts in entries})
    # By name, so that which node the others are compared with does not change from time to time.
    ordered = dict(sorted(per_node.items()))
    return tuple(_one(name, ordered) for name in names)


def named(entries: Iterable[str], os_name: str) -> bool:
    """Whether a list such as the blacklist holds for ``os_name``.

    An entry without variant holds for all variants, one with a variant for that one only.
    """
    return bool({os_name, os_name.partition("+")[0]} & set(entries))


def complaints(oses: Iterable[ClusterOs]) -> tuple[Complaint, ...]:
    """What is wrong with the definitions: invalid, missing, shadowed, or unlike other nodes'."""
    found: list[Complaint] = []
    for one in oses:
        for node, entries in sorted(one.node_status.items()):
            messages = [one.problems[node]] if node in one.problems else []
            if len(entries) > 1:
                hidden = ", ".join(facts.path for facts in entries[1:])
                text = f"{entries[0].path} is used and hides {hidden}"
                found.append(Complaint(node=node, os=one.name, message=text, harmless=True))
            if node in one.differing and node not in one.problems:
                files = ", ".join(one.differing[node])
                messages.append(
                    f"differs from most nodes in: {files} (gnt-os diagnose {one.name} shows how)"
                )
            found += [Complaint(node=node, os=one.name, message=text) for text in messages]
    return tuple(found)


def _one(name: str, per_node: Mapping[str, tuple[OsFacts, ...]]) -> ClusterOs:
    status = {
        node: tuple(facts for facts in entries if facts.name == name)
        for node, entries in per_node.items()
    }
    problems = {
        node: entries[0].problem if entries else f"the OS definition {name} is not there"
        for node, entries in status.items()
        if not entries or not entries[0].valid
    }
    used = {node: entries[0] for node, entries in status.items() if entries}
    firsts = tuple(used.values())
    parameters = _in_all([dict(facts.parameters) for facts in firsts])
    described = dict(firsts[0].parameters)
    return ClusterOs(
        name=name,
        valid=not problems,
        problems=problems,
        variants=_in_all([facts.variants for facts in firsts]),
        parameters=tuple((parameter, described[parameter]) for parameter in parameters),
        api_versions=_in_all([facts.api_versions for facts in firsts]),
        trusted=all(facts.trusted for facts in firsts),
        node_status=status,
        differing=_differing(used),
    )


def _in_all(lists: Sequence[Iterable[_Item]]) -> tuple[_Item, ...]:
    """What is in every list, in the order of the first."""
    first, *others = map(tuple, lists)
    return tuple(item for item in first if all(item in other for other in others))


def _differing(used: Mapping[str, OsFacts]) -> dict[str, tuple[str, ...]]:
    """Nodes with other files than most; of equally many, what the first node has counts."""
    usual = Counter(facts.digest for facts in used.values()).most_common(1)[0][0]
    reference = next(facts for facts in used.values() if facts.digest == usual)
    return {node: _files(facts, reference) for node, facts in used.items() if facts.digest != usual}


def _files(facts: OsFacts, reference: OsFacts) -> tuple[str, ...]:
    return tuple(
        file
        for file in sorted({*facts.files, *reference.files})
        if facts.files.get(file) != reference.files.get(file)
    )
