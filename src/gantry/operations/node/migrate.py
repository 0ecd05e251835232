"""Migrate all instances of a node, each in a job of its own: ``gnt-node migrate``."""

from __future__ import annotations

from typing import Any, ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks
from gantry.model.entities import Node
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, emptying, moving
from gantry.ports.steps import Outcome, Steps


class NodeMigratePlan(Plan, frozen=True, kw_only=True):
    """What is to be submitted."""

    node: Node
    found: emptying.Jobs


class NodeMigrate(Operation[NodeMigratePlan], frozen=True, kw_only=True):
    """What is stopped is failed over, or moved where its disks are the node's own."""

    opcode: ClassVar[str] = "OP_NODE_MIGRATE"
    plan_type: ClassVar[type[Plan]] = NodeMigratePlan

    node_name: str
    node_uuid: str | None = None
    mode: str | None = None
    live: bool | None = None
    target_node: str | None = None
    target_node_uuid: str | None = None
    allow_runtime_changes: bool = True
    ignore_ipolicy: bool = False
    iallocator: str | None = None
    deadline: int | None = None

    def summary(self) -> str:
        return f"NODE_MIGRATE({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        node = cluster.node(self.node_name)
        return Needs.of(shared=[locks.CLUSTER, locks.node(node.uuid)])

    def check(self, cluster: Snapshot, given: Given) -> NodeMigratePlan:
        moving.no_allocator(self.iallocator)
        node = cluster.node(self.node_name)
        checks.node_usable(cluster, node, "migrate its instances")
        how: dict[str, Any] = {"mode": self.mode, "live": self.live, "deadline": self.deadline}
        how = {name: value for name, value in how.items() if value is not None}
        return NodeMigratePlan(
            node=node, found=emptying.primary(cluster, node, self.target_node, how)
        )

    def subject(self, plan: NodeMigratePlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.NODE,
            node=plan.node,
            values={"ALLOW_RUNTIME_CHANGES": self.allow_runtime_changes},
        )

    async def run(self, plan: NodeMigratePlan, steps: Steps) -> Outcome:
        return emptying.submitted(plan.node, plan.found, steps)
