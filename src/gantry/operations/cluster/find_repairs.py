"""What can be mended without losing anything: the first half of ``gnt-cluster repair``."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from gantry.model import locks, timeouts
from gantry.model.entities import Node
from gantry.model.errors import Unavailable
from gantry.model.locks import Needs
from gantry.model.orders import Inspect, Inspection
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import measuring, mending
from gantry.operations.steps.mending import Repair
from gantry.ports.steps import Outcome, Steps

_MOST = 500


class FindRepairsPlan(Plan, frozen=True, kw_only=True):
    """What was found; ``more`` that did not fit."""

    repairs: tuple[Repair, ...] = ()
    more: int = 0


class ClusterFindRepairs(Operation[FindRepairsPlan], frozen=True, kw_only=True):
    """Changes nothing. The result is a list of ``{"what", "operation"}``, each to be submitted."""

    opcode: ClassVar[str] = "OP_CLUSTER_FIND_REPAIRS"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = FindRepairsPlan

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> FindRepairsPlan:
        return FindRepairsPlan()

    async def examine(
        self, plan: FindRepairsPlan, cluster: Snapshot, ask: Examiner
    ) -> FindRepairsPlan:
        nodes = [node for node in cluster.nodes.values() if not node.offline]
        seen = await asyncio.gather(*(_inspect(ask, node) for node in nodes))
        sizes = await measuring.read(ask, cluster)
        uuids = [node.uuid for node in nodes]
        found = mending.repairs(cluster, dict(zip(uuids, seen, strict=True)), sizes)
        return FindRepairsPlan(repairs=tuple(found[:_MOST]), more=max(0, len(found) - _MOST))

    async def run(self, plan: FindRepairsPlan, steps: Steps) -> Outcome:
        if plan.more:
            steps.warn(f"{plan.more} more are found the next time")
        return Outcome(result=[msgspec.to_builtins(one) for one in plan.repairs])


async def _inspect(ask: Examiner, node: Node) -> Inspection | Unavailable:
    try:
        return await ask.ask(node.uuid, Inspect(), timeouts.FAST)
    except Unavailable as error:
        return error
