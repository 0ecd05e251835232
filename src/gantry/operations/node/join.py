"""Internal: a machine has shown a valid token. It becomes a node by ``gnt-node add``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import locks, names
from gantry.model.entities import Joined, Token
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import allocation
from gantry.ports.steps import Outcome, Steps


class JoinPlan(Plan, frozen=True, kw_only=True):
    """The token goes as the machine comes: once is once."""

    token: Token
    joined: Joined
    older: tuple[Joined, ...] = ()
    """Joins of the same name that came to nothing."""


class NodeJoin(Operation[JoinPlan], frozen=True, kw_only=True):
    """``secret_hash`` names the token; the certificate is issued only when this succeeded.

    The result is the machine's name and uuid: ``node_uuid``, or the node's where a node of
    that name is in the cluster already.
    """

    opcode: ClassVar[str] = "OP_NODE_JOIN"
    hooked: ClassVar[bool] = False
    internal: ClassVar[bool] = True
    plan_type: ClassVar[type[Plan]] = JoinPlan

    secret_hash: str
    node_uuid: str
    primary_ip: str
    port: int = 1811

    def summary(self) -> str:
        return "NODE_JOIN"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(exclusive=[locks.node(self.node_uuid)], shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> JoinPlan:
        token = next(
            (one for one in cluster.tokens.values() if one.secret_hash == self.secret_hash), None
        )
        if token is None or token.expires < given.now:
            raise Rejected(
                "the token is not valid: it was used, it is older than an hour, or it is "
                "of another cluster",
                "make a new one on the master: gantry token NAME",
                reason=Reason.STATE,
            )
        if not names.is_uuid(self.node_uuid) or not 0 < self.port < 65536:
            raise Rejected("the request to join is not well formed")
        # The token was made for this very name: a node that was made anew is itself again.
        known = cluster.node_names.get(token.name)
        joined = Joined(
            uuid=known or Uuid(self.node_uuid),
            name=token.name,
            ctime=given.now,
            mtime=given.now,
            primary_ip=allocation.ip_address(self.primary_ip),
            port=self.port,
        )
        older = tuple(
            one
            for one in cluster.joined.values()
            if one.name == token.name and one.uuid != joined.uuid
        )
        return JoinPlan(token=token, joined=joined, older=older, reserve=(f"token/{token.uuid}",))

    async def run(self, plan: JoinPlan, steps: Steps) -> Outcome:
        result = [plan.joined.name, plan.joined.uuid]
        return Outcome(put=(plan.joined,), delete=(plan.token, *plan.older), result=result)
