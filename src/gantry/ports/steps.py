"""What an operation's ``run`` can do: named, journaled steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from gantry.model.entities import AnyEntity
from gantry.model.errors import ErrorInfo
from gantry.model.jobs import LogKind
from gantry.model.names import Uuid
from gantry.model.orders import Order
from gantry.model.replicas import MirrorChange

A = TypeVar("A", bound=msgspec.Struct)


class Undo(msgspec.Struct, frozen=True):
    """How to take an effect back, as data: an order to the same or another node."""

    node: Uuid
    order: Order[Any]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect among several that are issued side by side.

    ``otherwise``: where it fails that is a warning, which begins so, and its answer is None.
    """

    name: str
    node: Uuid
    order: Order[Any]
    undo: Undo | None = None
    otherwise: str = ""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What must be durable before an effect: objects, and changes of replicas' states.

    They are part of the commit that makes the effect's intent durable, and are never undone.
    """

    put: tuple[AnyEntity, ...] = ()
    mirrors: tuple[MirrorChange, ...] = ()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run`` gives back: the objects to put and to delete in the final commit, a result.

    ``result`` is JSON for the client. ``cleanup`` are orders that cannot be undone and must
    happen once the commit stands (removing the disks of a removed instance): they are made
    durable by the final commit itself (as ``debris/…`` keys, like an undo whose node did not
    answer), carried out right after it and before the post hooks, and where a node does not
    answer again whenever it comes back, by any later master. Their failure is a warning.
    """

    put: tuple[AnyEntity, ...] = ()
    delete: tuple[AnyEntity, ...] = ()
    mirrors: tuple[MirrorChange, ...] = ()
    """Applied to the mirrors as they are then, after ``put``."""
    result: Any = None
    cleanup: tuple[Undo, ...] = ()
    jobs: tuple[tuple[dict[str, Any], ...], ...] = ()
    """Further jobs, each its operations as JSON objects with an ``OP_ID``: submitted once the
    commit stands, and also by a later master, but once. The result is then ``{"jobs": …}`` with
    ``[true, number]`` for each, or ``[false, why]``, after those that ``result`` has."""
    error: ErrorInfo | None = None
    """It failed, and what there is was to be kept all the same: committed, and an error."""


class Steps(Protocol):
    """Given to ``run`` by the runner.

    Names of effects are unique within an operation and stable from run to run. On a replay
    after a crash a recorded result is given back without asking the agent again.
    """

    async def do(
        self,
        name: str,
        node: Uuid,
        order: Order[A],
        *,
        undo: Order[Any] | Undo | None = None,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> A:
        """One effect on a node. An ``undo`` that is an order goes to the same node.

        ``first`` is durable before the order is given.

        Raises what the agent said, after which the operation is unwound unless ``run``
        catches it.
        """

    async def all(
        self,
        effects: Sequence[Effect],
        *,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Several effects side by side; answers in their order. All are settled at the end."""

    def log(self, text: str, kind: LogKind = LogKind.MESSAGE) -> None:
        """A line for the job's log; said once, not again on a replay of recorded steps."""

    def warn(self, text: str) -> None:
        """A warning for the job's log."""

    @property
    def now(self) -> float:
        """When the operation was planned, in seconds since 1970; the same on a replay."""

    @property
    def secrets(self) -> dict[str, str]:
        """Secret OS parameters of this operation; raises OperationFailed where a crash lost
        them (submit again).
        """
