"""Proof that a guest does not run on a node any more. Pure: a snapshot in, the proof out.

A guest is started elsewhere only with such a proof; that a node is silent proves nothing, as its
guest may well go on writing. Every operation that starts a guest on another node asks here, and
a further source of proof belongs here and nowhere else.
"""

from __future__ import annotations

import enum

import msgspec

from gantry.model.entities import Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import power


class Source(enum.StrEnum):
    """Whose word it is."""

    AGENT = "agent"
    """The node's agent, which serves this master, says that the guest is not up."""
    OPERATOR = "operator"
    """The operator marked the node offline, and confirmed that the machine is off."""
    FENCE = "fence"
    """The site's program took the machine's power and says that it is off; it is marked so."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """``words`` is for the job's log."""

    source: Source
    words: str


def proof(cluster: Snapshot, guest: Uuid, node: Node) -> Proof | None:
    """The proof that ``guest`` does not run on ``node``; None where there is none.

    What an agent says counts only while it is heard: what it said before it fell silent may have
    been overtaken by an order whose answer was lost.
    """
    live = cluster.node_live(node.uuid)
    if live.reachable:
        known = live.guests.get(guest)
        if (known is not None and known.up) or (guest, node.uuid) in cluster.doubtful:
            return None
        words = f"the agent of node {node.name} says that the guest does not run there"
        return Proof(source=Source.AGENT, words=words)
    if node.offline and power.program(cluster, node) and not node.powered:
        # Of a node that is not marked the record may be old: it may have been switched on by hand.
        words = f"node {node.name} was powered off, as the program that switches its power says"
        return Proof(source=Source.FENCE, words=words)
    if node.offline:
        words = f"node {node.name} is marked offline: the operator says that the machine is off"
        return Proof(source=Source.OPERATOR, words=words)
    return None


def proven(cluster: Snapshot, instance: Instance, node: Node, purpose: str) -> Proof:
    """The proof that the instance's guest does not run on ``node``.

    Rejected, with the ways out, where there is none: ``purpose`` is what was to be done, such
    as ``start instance web1 on node node2``.
    """
    found = proof(cluster, instance.uuid, node)
    if found is not None:
        return found
    live = cluster.node_live(node.uuid)
    if live.reachable and (instance.uuid, node.uuid) in cluster.doubtful:
        raise Rejected(
            f"cannot {purpose}: node {node.name} has still to end the guest that it may have",
            "it does so by itself, now that it answers: try again in a moment",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )
    if live.reachable:
        raise Rejected(
            f"cannot {purpose}: its guest runs on node {node.name}",
            f"gnt-instance shutdown {instance.name}, or, where that node is not its own: "
            f"gnt-node end-guest {node.name} {instance.uuid}",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )
    why = f" ({live.problem})" if live.problem else ""
    raise Rejected(
        f"cannot {purpose}: nothing proves that its guest is dead on node {node.name}, whose agent "
        f"does not answer{why}",
        "start the agent there (systemctl start gantry-agent), so that it can say so; or "
        + _off(cluster, node),
        reason=Reason.ENVIRONMENT,
        node=node.name,
        object_name=instance.name,
    )


def _off(cluster: Snapshot, node: Node) -> str:
    """How to come to a proof without its agent."""
    if power.program(cluster, node):
        return (
            "take the machine's power, whatever else runs there: gnt-node power off "
            f"--ignore-status {node.name} (gnt-instance failover --fence does that by itself)"
        )
    return (
        "make sure that the machine is powered off, and say so: "
        f"gnt-node modify --offline=yes {node.name}"
    )
