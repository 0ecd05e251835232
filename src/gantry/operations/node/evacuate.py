"""Bring the instances of a node elsewhere, each in a job of its own: ``gnt-node evacuate``."""

from __future__ import annotations

import enum
from typing import ClassVar

from gantry.model import locks
from gantry.model.entities import Node
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import emptying, moving
from gantry.ports.steps import Outcome, Steps


class EvacuateMode(enum.StrEnum):
    """What is brought away: instances, or copies of other nodes' disks."""

    PRIMARY = "primary-only"
    SECONDARY = "secondary-only"
    ALL = "all"


class NodeEvacuatePlan(Plan, frozen=True, kw_only=True):
    """What is to be submitted."""

    node: Node
    found: emptying.Jobs


class NodeEvacuate(Operation[NodeEvacuatePlan], frozen=True, kw_only=True):
    """Running ones are migrated, stopped ones failed over or moved; where the node is proven dead
    all are failed over. ``remote_node``: where all go to.
    """

    opcode: ClassVar[str] = "OP_NODE_EVACUATE"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = NodeEvacuatePlan

    node_name: str
    mode: EvacuateMode = EvacuateMode.ALL
    node_uuid: str | None = None
    remote_node: str | None = None
    remote_node_uuid: str | None = None
    iallocator: str | None = None
    early_release: bool = False
    ignore_soft_errors: bool = False

    def summary(self) -> str:
        return f"NODE_EVACUATE({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        node = cluster.node(self.node_name)
        return Needs.of(shared=[locks.CLUSTER, locks.node(node.uuid)])

    def check(self, cluster: Snapshot, given: Given) -> NodeEvacuatePlan:
        moving.no_allocator(self.iallocator)
        node = cluster.node(self.node_name)
        found = emptying.Jobs(jobs=())
        if self.mode is not EvacuateMode.SECONDARY:
            found = emptying.primary(cluster, node, self.remote_node, {})
        if self.mode is not EvacuateMode.PRIMARY:
            copies = emptying.secondary(cluster, node, self.remote_node)
            found = emptying.Jobs(
                jobs=(*found.jobs, *copies.jobs), problems=(*found.problems, *copies.problems)
            )
        return NodeEvacuatePlan(node=node, found=found)

    async def run(self, plan: NodeEvacuatePlan, steps: Steps) -> Outcome:
        return emptying.submitted(plan.node, plan.found, steps)
