"""A dry run: what would happen, with nothing done and nothing kept but the job itself."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from gantry.jobs import foresight, further
from gantry.jobs.attempt import Attempt
from gantry.model.jobs import DryRun, JobStatus, LogKind
from gantry.model.names import Uuid
from gantry.model.orders import Nothing, Order
from gantry.ports.steps import Changes, Effect, Outcome, Undo

A = TypeVar("A", bound=msgspec.Struct)


class Rehearsed(BaseException):
    """What follows depends on a real answer."""


class Rehearsal:
    """Steps that only write down what would be done."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.effects: list[dict[str, str]] = []

    @property
    def now(self) -> float:
        """When the operation was planned."""
        return self._attempt.now

    @property
    def secrets(self) -> dict[str, str]:
        """Secret OS parameters."""
        return self._attempt.steps.secrets

    def log(self, text: str, kind: LogKind = LogKind.MESSAGE) -> None:
        """What ``run`` would say is not said: it has not happened."""

    def warn(self, text: str) -> None:
        """A warning is about the plan, and worth hearing."""
        self._attempt.steps.warn(text)

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
        """Write one effect down."""
        [answer] = await self.all([Effect(name=name, node=node, order=order)])
        return answer  # type: ignore[return-value]  # Nothing, as the order's answer

    async def all(
        self,
        effects: Sequence[Effect],
        *,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> list[msgspec.Struct]:
        """Write several effects down."""
        for effect in effects:
            to = self._attempt.context.address(effect.node)
            kind = str(effect.order.__struct_config__.tag)
            self.effects.append({"step": effect.name, "node": to.name, "order": kind})
        if any(effect.order.answer is not Nothing for effect in effects):
            raise Rehearsed
        return [Nothing() for _ in effects]


async def rehearse(attempt: Attempt) -> None:
    """Go through the operation and end it with the list of what it would have done."""
    entry, rehearsal = attempt.entry, Rehearsal(attempt)
    outcome: Outcome | None = None
    with contextlib.suppress(Rehearsed):
        outcome = await attempt.operation.run(attempt.plan, rehearsal)
    scripts = entry.job.dry_run is DryRun.HOOKS
    if scripts and attempt.phases.asks:
        await _keep(attempt)
        await attempt.phases.run_before()
    foreseen = await attempt.phases.foreseen(outcome, pre=not scripts)
    for line in (line for one in foreseen if one.phase == "pre" for line in one.lines()):
        attempt.steps.log(line)
    for effect in rehearsal.effects:
        attempt.steps.log(f"would do on {effect['node']}: {effect['order']} ({effect['step']})")
    if outcome is None:
        attempt.steps.log("whether anything follows that depends on what the nodes answer")
    for line in (line for one in foreseen if one.phase != "pre" for line in one.lines()):
        attempt.steps.log(line)
    denied = attempt.phases.foreseen_denial(foreseen)
    if denied is not None:
        attempt.steps.say_held()
        raise denied
    jobs = await _tried(attempt, outcome) if outcome is not None and outcome.jobs else []
    attempt.steps.say_held()
    result = {
        "dry_run": True,
        "effects": rehearsal.effects,
        "complete": outcome is not None,
        **foresight.result(foreseen),
        **({"jobs": jobs} if jobs else {}),
    }
    async with entry.lock:
        entry.check_cancelled()
        entry.settled = True
        await attempt.close(attempt.ended(JobStatus.SUCCESS, result=result))


async def _tried(attempt: Attempt, outcome: Outcome) -> list[tuple[bool, Any]]:
    """The jobs that it would submit, each as a dry run of its own."""
    refused = (outcome.result or {}).get("jobs", ())
    told = await further.submit(attempt, outcome.jobs)
    numbers = ", ".join(str(number) for fine, number in told if fine)
    if numbers:
        attempt.steps.log(f"would submit {len(outcome.jobs)} jobs; tried as jobs {numbers}")
    return [*map(tuple, refused), *told]


async def _keep(attempt: Attempt) -> None:
    """A dry run whose scripts run is durable before them; after a crash it begins again."""
    entry = attempt.entry
    async with entry.lock:
        entry.check_cancelled()
        await attempt.context.journal.job(entry, attempt.begun())
