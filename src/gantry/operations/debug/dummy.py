"""Do nothing at all: what a durable job costs by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from gantry.model.errors import OperationFailed
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps


class DebugDummy(Operation[Plan], frozen=True, kw_only=True):
    """Give back ``result``, say ``messages``, or fail."""

    opcode: ClassVar[str] = "OP_TEST_DUMMY"
    hooked: ClassVar[bool] = False

    result: Any = None
    messages: tuple[str, ...] = ()
    fail: bool = False

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs()

    def check(self, cluster: Snapshot, given: Given) -> Plan:
        return Plan()

    async def run(self, plan: Plan, steps: Steps) -> Outcome:
        for message in self.messages:
            steps.log(message)
        if self.fail:
            raise OperationFailed("failed, as asked for")
        return Outcome(result=self.result)
