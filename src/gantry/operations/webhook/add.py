"""Tell a web server of events: ``gnt-hook webhook-add``.

Address and secret come beside the operation, so that neither is in its record, and are kept in the
cluster's state.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import locks, names, webhooks
from gantry.model.entities import Webhook
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps

URL = "url"
SECRET = "secret"  # noqa: S105 - its name
_LARGEST_CA = 64 * 1024


class WebhookAddPlan(Plan, frozen=True, kw_only=True):
    """The webhook without its address and its secret."""

    webhook: Webhook


class WebhookAdd(Operation[WebhookAddPlan], frozen=True, kw_only=True):
    """``events`` as in ``gantry.model.webhooks``; ``ca`` are certificates that may have signed
    the server's, in PEM, instead of those that the master trusts. Secrets: ``url``, ``secret``.
    """

    opcode: ClassVar[str] = "OP_WEBHOOK_ADD"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = WebhookAddPlan

    name: str
    events: tuple[str, ...] = ()
    ca: str = ""

    def summary(self) -> str:
        return f"WEBHOOK_ADD({self.name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.WEBHOOKS], shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> WebhookAddPlan:
        name = names.plain(self.name, "the name of a webhook")
        if any(one.name == name for one in cluster.webhooks.values()):
            raise Rejected(
                f"there is a webhook {name} already",
                f"gnt-hook webhook-remove {name} takes it away",
                reason=Reason.EXISTS,
            )
        if len(cluster.webhooks) >= webhooks.MAX_WEBHOOKS:
            raise Rejected(f"there are {webhooks.MAX_WEBHOOKS} webhooks, which is the most")
        if self.ca and ("-----BEGIN CERTIFICATE-----" not in self.ca or len(self.ca) > _LARGEST_CA):
            raise Rejected("the CA is no certificate in PEM, or larger than 64 KiB")
        made = Webhook(
            uuid=given.uuid(),
            name=name,
            url="",
            secret="",
            events=webhooks.choice(self.events),
            ca=self.ca,
            ctime=given.now,
            mtime=given.now,
        )
        return WebhookAddPlan(webhook=made)

    async def examine(
        self, plan: WebhookAddPlan, cluster: Snapshot, ask: Examiner
    ) -> WebhookAddPlan:
        url = webhooks.url(ask.secrets.get(URL, ""))
        webhooks.secret(ask.secrets.get(SECRET, ""))
        if url.startswith("http:"):
            ask.warn("events travel in the clear to an address with http: others may read them")
        return plan

    async def run(self, plan: WebhookAddPlan, steps: Steps) -> Outcome:
        url = webhooks.url(steps.secrets.get(URL, ""))
        secret = webhooks.secret(steps.secrets.get(SECRET, ""))
        whole = msgspec.structs.replace(plan.webhook, url=url, secret=secret)
        return Outcome(put=(whole,), result={"name": whole.name, "events": list(whole.events)})
