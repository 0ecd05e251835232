"""What ``gantry local up`` has to do, as data: from the description and what runs, nothing else.

Pure. Each step can be done again after it was cut off half-way.
"""

from __future__ import annotations

import enum

import msgspec

from gantry.local.description import (
    MOST_NODES,
    MOST_SIMULATED,
    Description,
    LocalNode,
    SimulatedNode,
)
from gantry.model.errors import Reason, Rejected


class Kind(enum.StrEnum):
    """The kinds of steps."""

    FILES = "files"
    """Directories, programs and OS definitions of a node."""
    STORE = "store"
    """Start the members of etcd."""
    INITIALISE = "initialise"
    """Make the cluster on the first node, from nothing."""
    AGENT = "agent"
    """Start a node's agent."""
    SIMULATE = "simulate"
    """Start the agents of simulated nodes."""
    MASTER = "master"
    """Start a node's master process, which is the master or waits to be it."""
    JOIN = "join"
    """Let a new machine join and add it as a node."""
    JOIN_SIMULATED = "join-simulated"
    """The same of all simulated nodes that are new, at once."""
    KERNEL = "kernel"
    """Give guests of OS busybox a kernel."""
    RESUME = "resume"
    """Let supervision start again the guests that should be up."""


class Step(msgspec.Struct, frozen=True):
    """One step; ``node`` is a node's number."""

    kind: Kind
    node: int = 1


def nodes_for(existing: tuple[LocalNode, ...], wanted: int | None) -> tuple[LocalNode, ...]:
    """The nodes to have: those that exist, and new ones up to ``wanted``.

    Rejected for fewer than there are, and for more than the addresses allow.
    """
    count = wanted if wanted is not None else (len(existing) or 3)
    if not 1 <= count <= MOST_NODES:
        raise Rejected(f"a local cluster has 1 to {MOST_NODES} nodes, not {count}")
    members = sum(node.member for node in existing)
    if count < members:
        raise Rejected(
            f"the cluster has {members} nodes already, not {count}",
            "leave --nodes out; nodes are taken out with gnt-node remove",
            reason=Reason.STATE,
        )
    known = {node.number: node for node in existing}
    highest = max(known, default=0)
    missing = count - len(known)
    new = [LocalNode(number=highest + 1 + index) for index in range(missing)]
    kept = [known[number] for number in sorted(known)]
    result = tuple([*kept, *new][:count])
    if result and result[-1].number > MOST_NODES:
        raise Rejected(f"a local cluster has addresses for {MOST_NODES} nodes")
    return result


def simulated_for(
    existing: tuple[SimulatedNode, ...], wanted: int | None
) -> tuple[SimulatedNode, ...]:
    """The simulated nodes to have; Rejected as ``nodes_for`` does it."""
    count = wanted if wanted is not None else len(existing)
    members = sum(node.member for node in existing)
    if count < members:
        raise Rejected(
            f"the cluster has {members} simulated nodes already, not {count}",
            "leave --simulated-nodes out; nodes are taken out with gnt-node remove",
            reason=Reason.STATE,
        )
    kept = sorted(existing, key=lambda node: (not node.member, node.number))[:count]
    highest = max((node.number for node in kept), default=0)
    new = [SimulatedNode(number=highest + 1 + index) for index in range(count - len(kept))]
    result = tuple(sorted([*kept, *new], key=lambda node: node.number))
    if count < 0 or (result and result[-1].number > MOST_SIMULATED):
        raise Rejected(f"a local cluster has addresses for {MOST_SIMULATED} simulated nodes")
    return result


def plan(description: Description) -> tuple[Step, ...]:
    """All steps that bring the cluster up. Starting what runs already does nothing."""
    first, *others = description.nodes
    steps = [Step(Kind.FILES, first.number)]
    if not description.initialised:
        steps = [Step(Kind.INITIALISE, first.number)]
    if description.store_members:
        steps.insert(0, Step(Kind.STORE))
    members = [node for node in others if node.member]
    steps += [Step(Kind.FILES, node.number) for node in members]
    steps += [Step(Kind.AGENT, node.number) for node in (first, *members)]
    if any(node.member for node in description.simulated):
        steps.append(Step(Kind.SIMULATE))
    steps += [Step(Kind.MASTER, node.number) for node in (first, *members)]
    steps += [Step(Kind.JOIN, node.number) for node in others if not node.member]
    if not all(node.member for node in description.simulated):
        steps.append(Step(Kind.JOIN_SIMULATED))
    if description.kernel and not description.kernel_set:
        steps.append(Step(Kind.KERNEL))
    if description.resting:
        steps.append(Step(Kind.RESUME))
    return tuple(steps)
