"""``ports.steps.Steps`` that only writes down what an operation does, and fails on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gantry.model.errors import GantryError
from gantry.model.jobs import LogKind
from gantry.model.names import Uuid
from gantry.model.orders import Nothing, Order
from gantry.model.replica_orders import ReplicaPrepare, ReplicaPrepared, ReplicaServe, ReplicaServed
from gantry.ports.steps import Changes, Effect, Undo


class Written:
    """``done`` are (name, node, order, undo); ``firsts`` what was durable before, by name.

    ``answers`` are by the name of the effect.
    """

    now = 6000.0
    secrets: dict[str, str] = {}  # noqa: RUF012

    def __init__(
        self,
        failing: Mapping[str, GantryError] | None = None,
        answers: Mapping[str, msgspec.Struct] | None = None,
    ) -> None:
        self.done: list[tuple[str, Uuid, Order[Any], Order[Any] | Undo | None]] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []
        self.firsts: dict[str, Changes] = {}
        self._failing = dict(failing or {})
        self._said = dict(answers or {})

    async def do(
        self,
        name: str,
        node: Uuid,
        order: Order[Any],
        *,
        undo: Order[Any] | Undo | None = None,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Write it down."""
        self.done.append((name, node, order, undo))
        if first is not None:
            self.firsts[name] = first
        if name in self._failing:
            raise self._failing[name]
        if isinstance(order, ReplicaPrepare):
            prepared = ReplicaPrepared(port=9000 + len(self.done), content="word")
            return self._said.get(name, prepared)
        if isinstance(order, ReplicaServe):
            return self._said.get(name, ReplicaServed(port=9000 + len(self.done)))
        return self._said.get(name, Nothing())

    async def all(
        self,
        effects: Sequence[Effect],
        *,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Write them down."""
        answers: list[Any] = []
        for one in effects:
            try:
                answers.append(
                    await self.do(one.name, one.node, one.order, undo=one.undo, first=first)
                )
            except GantryError as error:
                if not one.otherwise:
                    raise
                self.warn(f"{one.otherwise}: {error.message}")
                answers.append(None)
        return answers

    def log(self, text: str, kind: LogKind = LogKind.MESSAGE) -> None:
        """Keep the line."""
        self.lines.append(text)

    def warn(self, text: str) -> None:
        """Keep the line."""
        self.warnings.append(text)

    @property
    def names(self) -> list[str]:
        """Of the effects."""
        return [name for name, *_ in self.done]
