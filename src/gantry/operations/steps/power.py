"""Switching nodes' power by the site's own program: what may be done, and what it costs."""

from __future__ import annotations

from gantry.model import timeouts
from gantry.model.entities import AdminState, Node
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import ReadGuests
from gantry.model.parameters import node_parameters
from gantry.model.power import PowerCommand, PowerRun
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner


def program(cluster: Snapshot, node: Node) -> str:
    """The path of the program that switches the node's power; empty where there is none."""
    filled = node_parameters(cluster.cluster, cluster.groups.get(node.group), node)
    return str(filled["oob_program"])


def programs(cluster: Snapshot) -> tuple[str, ...]:
    """All of them: whoever is the master runs them."""
    return tuple(sorted({program(cluster, node) for node in cluster.nodes.values()} - {""}))


def required(cluster: Snapshot, node: Node) -> str:
    """The same, or Rejected."""
    found = program(cluster, node)
    if not found:
        raise Rejected(
            f"node {node.name} has no program that switches its power",
            f"gnt-node modify --node-parameters oob_program=/PATH {node.name}, or one for all: "
            "gnt-cluster modify --node-parameters oob_program=/PATH",
            reason=Reason.STATE,
            node=node.name,
        )
    return found


def order(
    cluster: Snapshot, node: Node, command: PowerCommand, run: Uuid, timeout: float, delay: float
) -> PowerRun:
    """One call of the node's program."""
    return PowerRun(
        program=required(cluster, node),
        command=command,
        node=node.uuid,
        machine=node.name,
        run=run,
        timeout=timeout,
        delay=delay,
    )


async def silent(ask: Examiner, node: Node) -> None:
    """Its agent does not say that guests run there; else Rejected: it cannot be off.

    It is asked now: what was heard last may be as old as ``NODE_DOWN_AFTER``, and who comes at
    night knows of a death sooner. An agent that cannot be asked says nothing.
    """
    try:
        found = (await ask.ask(node.uuid, ReadGuests(), timeouts.STILL_THERE)).guests
    except GantryError:
        return
    up = sorted(guest.name for guest in found if guest.up)
    if up:
        raise Rejected(
            f"node {node.name} is not off: its agent answers, and {_named(up)} run there",
            "shut them down or move them first; or switch the machine off: gnt-node power off "
            f"--ignore-status {node.name}",
            reason=Reason.STATE,
            node=node.name,
        )


def may_lose_power(cluster: Snapshot, node: Node, what: str, how: str) -> None:
    """No guest is lost by it, as far as is known; else Rejected. ``how`` is the way to do it."""
    live = cluster.node_live(node.uuid)
    up = sorted(guest.name for guest in live.guests.values() if guest.up)
    if live.reachable and not node.offline:
        found, says = up, "runs"
    else:
        meant = cluster.instances_of(node.uuid)
        found = sorted(one.name for one in meant if one.admin_state is AdminState.UP)
        says = "does not answer and may run"
    if found:
        raise Rejected(
            f"cannot {what} node {node.name}: it {says} {_named(found)}",
            f"shut them down or move them first; {how}: whatever runs there ends at once",
            reason=Reason.STATE,
            node=node.name,
        )


def _named(guests: list[str]) -> str:
    more = f" and {len(guests) - 3} more" if len(guests) > 3 else ""
    return ", ".join(guests[:3]) + more
