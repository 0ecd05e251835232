"""What ``check`` and ``examine`` are given: time, chance, questions to nodes; nothing changes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gantry.jobs import issue
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.model.jobs import LogKind
from gantry.model.names import Uuid
from gantry.model.orders import Question

Q = TypeVar("Q", bound=msgspec.Struct)


class Draw:
    """Given and Examiner of ``gantry.operations.base`` for one operation."""

    def __init__(self, context: Context, entry: Entry, op: int, now: float) -> None:
        self._context = context
        self._entry = entry
        self._op = op
        self._now = now

    @property
    def now(self) -> float:
        """Seconds since 1970; the same as in ``run``."""
        return self._now

    def uuid(self) -> Uuid:
        """A new random uuid."""
        return self._context.clock.uuid()

    def random_bytes(self, count: int) -> bytes:
        """Random bytes."""
        return self._context.clock.random_bytes(count)

    @property
    def requester(self) -> str:
        """Who submitted the job."""
        return self._entry.job.requester

    async def ask(self, node: Uuid, question: Question[Q], timeout: float) -> Q:
        """Ask a node; Rejected as it said, Unavailable where it does not answer."""
        return await self._context.agents.ask(self._context.address(node), question, timeout)

    def warn(self, text: str) -> None:
        """A warning for the job's log."""
        issue.say(self._context, self._entry, text, LogKind.WARNING, self._op)

    @property
    def secrets(self) -> dict[str, str]:
        """Secret OS parameters of the operation."""
        secrets = self._entry.secrets
        return secrets[self._op] if self._op < len(secrets) else {}
