"""Take a node out of the cluster: ``gnt-node remove``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks
from gantry.model.entities import Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import NodeLeave
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import candidates
from gantry.ports.steps import Outcome, Steps, Undo


class NodeRemovePlan(Plan, frozen=True, kw_only=True):
    """``tell`` is False where the node does not answer: it is then not told."""

    node: Node
    tell: bool
    cluster: Uuid
    promoted: tuple[Node, ...] = ()


class NodeRemove(Operation[NodeRemovePlan], frozen=True, kw_only=True):
    """Refused while it has instances, and for the master."""

    opcode: ClassVar[str] = "OP_NODE_REMOVE"
    plan_type: ClassVar[type[Plan]] = NodeRemovePlan

    node_name: str
    node_uuid: str | None = None

    def summary(self) -> str:
        return f"NODE_REMOVE({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.CLUSTER, locks.node(cluster.node(self.node_name).uuid)])

    def check(self, cluster: Snapshot, given: Given) -> NodeRemovePlan:
        node = cluster.node(self.node_name)
        if node.uuid == cluster.cluster.master_node:
            raise Rejected(
                f"node {node.name} is the master and cannot be removed",
                "make another node the master first, or gnt-cluster destroy",
                reason=Reason.STATE,
                node=node.name,
            )
        having = sorted(
            one.name
            for one in cluster.instances.values()
            if node.uuid in (one.primary_node, *one.secondary_nodes)
        )
        if having:
            raise Rejected(
                f"node {node.name} still has {len(having)} instance(s): {', '.join(having[:5])}",
                "remove or move them first",
                reason=Reason.STATE,
                node=node.name,
            )
        tell = not node.offline and cluster.node_live(node.uuid).reachable
        return NodeRemovePlan(
            node=node,
            tell=tell,
            cluster=cluster.cluster.uuid,
            promoted=candidates.promoted(cluster, given.now, node.uuid),
        )

    def subject(self, plan: NodeRemovePlan, cluster: Snapshot) -> Subject:
        return Subject(kind=SubjectKind.NODE, node=plan.node)

    async def run(self, plan: NodeRemovePlan, steps: Steps) -> Outcome:
        steps.log(f"removing node {plan.node.name}")
        if plan.promoted:
            steps.log(candidates.words(plan.promoted))
        if not plan.tell:
            steps.warn(
                "it does not answer and was not told: its agent still has its certificate; "
                "do not start it again before its /etc/gantry is removed"
            )
            return Outcome(put=plan.promoted, delete=(plan.node,))
        leave = NodeLeave(cluster=plan.cluster)
        return Outcome(
            put=plan.promoted, delete=(plan.node,), cleanup=(Undo(plan.node.uuid, leave),)
        )
