"""Internal: let a machine join once within the hour (``gantry token NAME``)."""

from __future__ import annotations

import re
from typing import ClassVar

from gantry.model import timeouts
from gantry.model.entities import Token
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import host_name
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps

_HASH = re.compile(r"[0-9a-f]{64}")


class TokenPlan(Plan, frozen=True, kw_only=True):
    """The token, and those that are too old to keep."""

    token: Token
    stale: tuple[Token, ...]


class TokenCreate(Operation[TokenPlan], frozen=True, kw_only=True):
    """Only the SHA-256 of the secret comes here (64 hexadecimal digits)."""

    opcode: ClassVar[str] = "OP_TOKEN_CREATE"
    hooked: ClassVar[bool] = False
    internal: ClassVar[bool] = True
    plan_type: ClassVar[type[Plan]] = TokenPlan

    node_name: str
    secret_hash: str

    def summary(self) -> str:
        return f"TOKEN_CREATE({self.node_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs()

    def check(self, cluster: Snapshot, given: Given) -> TokenPlan:
        name = host_name(self.node_name, "the name of a node")
        if not _HASH.fullmatch(self.secret_hash):
            raise Rejected("secret_hash is not a SHA-256")
        if name in cluster.instance_names:
            raise Rejected(f"{name} is the name of an instance", reason=Reason.NOT_UNIQUE)
        token = Token(
            uuid=given.uuid(),
            name=name,
            ctime=given.now,
            mtime=given.now,
            secret_hash=self.secret_hash,
            expires=given.now + timeouts.TOKEN_LIFETIME,
        )
        stale = tuple(one for one in cluster.tokens.values() if one.expires < given.now)
        return TokenPlan(token=token, stale=stale)

    async def run(self, plan: TokenPlan, steps: Steps) -> Outcome:
        return Outcome(put=(plan.token,), delete=plan.stale, result=plan.token.expires)
