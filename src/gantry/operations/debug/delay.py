"""Do nothing for a while: ``gnt-debug delay``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import locks
from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import Delay
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Effect, Outcome, Steps


class DelayPlan(Plan, frozen=True, kw_only=True):
    """Where, in the order of the request."""

    nodes: tuple[Uuid, ...]


class DebugDelay(Operation[DelayPlan], frozen=True, kw_only=True):
    """Occupy nodes (and their locks) for ``duration`` seconds, ``repeat`` + 1 times."""

    opcode: ClassVar[str] = "OP_TEST_DELAY"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = DelayPlan

    duration: float
    on_master: bool = True
    on_nodes: tuple[str, ...] = ()
    repeat: int = 0
    interruptible: bool = False
    no_locks: bool = False

    def summary(self) -> str:
        return f"TEST_DELAY({self.duration:g})"

    def needs(self, cluster: Snapshot) -> Needs:
        if self.no_locks:
            return Needs()
        return Needs.of(
            shared=[locks.CLUSTER], exclusive=[locks.node(uuid) for uuid in self._nodes(cluster)]
        )

    def check(self, cluster: Snapshot, given: Given) -> DelayPlan:
        if not 0 <= self.duration <= 86400 or self.repeat < 0:
            raise Rejected("the duration is 0 to 86400 seconds, and repeat at least 0")
        return DelayPlan(nodes=tuple(self._nodes(cluster)))

    async def run(self, plan: DelayPlan, steps: Steps) -> Outcome:
        for turn in range(self.repeat + 1):
            order = Delay(duration=self.duration)
            await steps.all(
                [
                    Effect(name=f"delay/{turn}/{index}", node=node, order=order)
                    for index, node in enumerate(plan.nodes)
                ],
                timeout=self.duration + 60,
            )
        return Outcome()

    def _nodes(self, cluster: Snapshot) -> list[Uuid]:
        named = [cluster.node(name).uuid for name in self.on_nodes]
        return list(dict.fromkeys([cluster.master.uuid, *named] if self.on_master else named))
