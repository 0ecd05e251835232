"""End a guest that is no instance's there: ``gnt-node end-guest``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import locks, timeouts
from gantry.model.entities import Node
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive
from gantry.model.locks import Needs
from gantry.model.orders import GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks
from gantry.ports.steps import Outcome, Steps, Undo


class EndGuestPlan(Plan, frozen=True, kw_only=True):
    """The guest may be of any hypervisor that the node has: each is told to end it."""

    node: Node
    guest: GuestLive
    hypervisors: tuple[str, ...]


class NodeEndGuest(Operation[EndGuestPlan], frozen=True, kw_only=True):
    """Shut down and forget a guest that the cluster does not know, or not on that node.

    Such guests are left where an older copy of the state was restored. Their disks stay. What
    was ended cannot be brought back, so it is done after the commit, as removing disks is.
    """

    opcode: ClassVar[str] = "OP_NODE_END_GUEST"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = EndGuestPlan

    node_name: str
    guest: str
    """Its uuid, or its whole name where that means one guest."""
    shutdown_timeout: int = int(timeouts.SHUTDOWN)

    def summary(self) -> str:
        return f"NODE_END_GUEST({self.node_name}, {self.guest})"

    def needs(self, cluster: Snapshot) -> Needs:
        node = cluster.node(self.node_name)
        found = self._find(cluster, node)
        # One that is being made has a guest before it is an instance, and a lock by its name.
        return Needs.of(
            shared=[locks.CLUSTER, locks.node(node.uuid)],
            exclusive=[locks.instance(found.uuid), locks.instance(found.name)],
        )

    def check(self, cluster: Snapshot, given: Given) -> EndGuestPlan:
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")
        node = cluster.node(self.node_name)
        guest = self._find(cluster, node)
        instance = cluster.instances.get(guest.uuid)
        if instance is not None and node.uuid in checks.all_nodes(instance):
            raise Rejected(
                f"{guest.name} on node {node.name} is the guest of instance {instance.name}",
                f"gnt-instance shutdown {instance.name}, or gnt-instance remove",
                reason=Reason.STATE,
                node=node.name,
                object_name=instance.name,
            )
        facts = cluster.node_live(node.uuid).facts
        return EndGuestPlan(
            node=node, guest=guest, hypervisors=tuple(sorted(facts.hypervisors)) if facts else ()
        )

    def _find(self, cluster: Snapshot, node: Node) -> GuestLive:
        checks.node_usable(cluster, node, f"end guest {self.guest}")
        wanted = self.guest.strip().lower()
        known = cluster.node_live(node.uuid).guests.values()
        found = [one for one in known if wanted in (one.uuid, one.name)]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(sorted(f"{one.uuid} ({one.state})" for one in found))
            raise Rejected(
                f"node {node.name} has several guests named {self.guest!r}: {shown}",
                "give the uuid",
                reason=Reason.NOT_UNIQUE,
                node=node.name,
            )
        raise Rejected(
            f"node {node.name} has no guest {self.guest!r}",
            "gnt-cluster verify shows those that belong to no instance",
            reason=Reason.UNKNOWN,
            node=node.name,
        )

    async def run(self, plan: EndGuestPlan, steps: Steps) -> Outcome:
        steps.log(f"ending guest {plan.guest.name} ({plan.guest.uuid}) on {plan.node.name}")
        orders = [
            GuestStop(
                uuid=plan.guest.uuid,
                hypervisor=name,
                timeout=float(self.shutdown_timeout),
                force=self.shutdown_timeout == 0,
                forget=True,
            )
            for name in plan.hypervisors
        ]
        return Outcome(cleanup=tuple(Undo(plan.node.uuid, order) for order in orders))
