"""What an operation is: a frozen class whose fields are its parameters, and its methods.

The runner (``gantry.jobs``) is the same for all:

    needs → locks → check → examine → reserve → pre hooks → run → final commit → post hooks

``check`` and everything before it decide upon one immutable snapshot and touch nothing.
Only ``run`` changes the world, and only through ``steps``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from gantry.hooks.subject import Subject
from gantry.hooks.verdict import NodeScripts
from gantry.model.entities import AnyEntity
from gantry.model.jobs import LogKind
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import Question
from gantry.model.snapshot import Claim, Snapshot

if TYPE_CHECKING:
    from gantry.ports.steps import Outcome, Steps

Q = TypeVar("Q", bound=msgspec.Struct)


class Given(Protocol):
    """What ``check`` may draw from beside the snapshot; the plan that results is stored."""

    @property
    def now(self) -> float:
        """Seconds since 1970."""

    def uuid(self) -> Uuid:
        """A new random uuid."""

    def random_bytes(self, count: int) -> bytes:
        """Random bytes (MAC addresses)."""

    @property
    def requester(self) -> str:
        """Who asked for it."""


class Examiner(Protocol):
    """What ``examine`` may do: ask nodes questions that change nothing, and warn."""

    async def ask(self, node: Uuid, question: Question[Q], timeout: float) -> Q:
        """Raises Rejected as the node said it, Unavailable where it does not answer."""

    def warn(self, text: str) -> None:
        """A warning for the job's log."""

    @property
    def secrets(self) -> dict[str, str]:
        """Secret OS parameters of this operation."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all plans: what ``check`` decided, with everything random already drawn.

    A plan is stored with the job and must survive JSON. ``reserve`` are names that nobody
    else may take while the job runs (``name/web1.example.com``, ``mac/aa:…``, ``ip/…``,
    ``port/…``); ``claims`` are resources that count as used.
    """

    reserve: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()


P = TypeVar("P", bound=Plan)


class Operation(msgspec.Struct, Generic[P], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all operations. Field names are Ganeti's opcode parameters.

    ``opcode`` is Ganeti's op code (or our own ``OP_…`` where it has none); ``hooked`` says
    whether ``gantry.hooks.table`` has a row for it; ``internal`` ones are the master's own.
    """

    opcode: ClassVar[str]
    hooked: ClassVar[bool] = True
    internal: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = Plan

    def summary(self) -> str:
        """Such as ``INSTANCE_STARTUP(web1.example.com)``."""
        return self.opcode.removeprefix("OP_")

    def needs(self, cluster: Snapshot) -> Needs:
        """The locks. Names are looked up here; Rejected where one does not exist."""
        raise NotImplementedError

    def check(self, cluster: Snapshot, given: Given) -> P:
        """The plan, or Rejected. Pure: the same snapshot and draws give the same plan."""
        raise NotImplementedError

    async def examine(self, plan: P, cluster: Snapshot, ask: Examiner) -> P:
        """The part of the check that must ask nodes (OS ``verify``, name look-ups); Rejected.

        May give back a plan that the answers made more exact.
        """
        return plan

    def subject(self, plan: P, cluster: Snapshot) -> Subject | None:
        """What hooks are told; called with the snapshot before, and again with the one after."""
        return None

    def report(self, plan: P, scripts: tuple[NodeScripts, ...]) -> tuple[tuple[str, LogKind], ...]:
        """Lines for the log once the post scripts have run; only cluster-verify has some."""
        return ()

    def conclude(self, plan: P, result: Any, scripts: tuple[NodeScripts, ...]) -> Any:
        """The result once the post scripts have run; only cluster-verify looks at them."""
        return result

    def remains(self, plan: P, begun: frozenset[str]) -> tuple[AnyEntity, ...]:
        """Objects as they are once it was unwound, for what cannot be undone.

        ``begun`` are the names of the effects that had begun, and that no node has refused.
        Put with the end of the job.
        """
        return ()

    async def run(self, plan: P, steps: Steps) -> Outcome:
        """The work. Nothing here depends on anything but ``plan`` and what steps gave back."""
        raise NotImplementedError


AnyOperation = Operation[Any]
