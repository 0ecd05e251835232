"""Tell a web server no more: ``gnt-hook webhook-remove``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import locks
from gantry.model.entities import Webhook
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps


class WebhookRemovePlan(Plan, frozen=True, kw_only=True):
    """Which one; nothing of its secret."""

    uuid: Uuid
    name: str


class WebhookRemove(Operation[WebhookRemovePlan], frozen=True, kw_only=True):
    """What still waits for it is dropped."""

    opcode: ClassVar[str] = "OP_WEBHOOK_REMOVE"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = WebhookRemovePlan

    name: str

    def summary(self) -> str:
        return f"WEBHOOK_REMOVE({self.name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.WEBHOOKS], shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> WebhookRemovePlan:
        for one in cluster.webhooks.values():
            if one.name == self.name:
                return WebhookRemovePlan(uuid=one.uuid, name=one.name)
        known = ", ".join(sorted(one.name for one in cluster.webhooks.values()))
        raise Rejected(
            f"there is no webhook {self.name!r}",
            f"there are {known}" if known else "gnt-hook webhook-add makes one",
            reason=Reason.UNKNOWN,
            object_name=self.name,
        )

    async def run(self, plan: WebhookRemovePlan, steps: Steps) -> Outcome:
        gone = Webhook(uuid=plan.uuid, name=plan.name, url="", secret="")
        return Outcome(delete=(gone,))
