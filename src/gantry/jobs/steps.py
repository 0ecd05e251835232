"""The steps that an operation's ``run`` takes: journaled, replayed after a crash.

Before effects are issued they are journaled with their undo; the results of the last ones go
with the same commit. What an operation does when it fails is not decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from gantry.jobs import codec, issue, limits
from gantry.jobs.codec import EffectRecord, IntentRecord, Result, ResultRecord
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry, Halt
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, from_info
from gantry.model.jobs import LogKind
from gantry.model.names import Uuid
from gantry.model.orders import OS_SCRIPTS, Order, TransferOpen
from gantry.ports.agents import Address
from gantry.ports.steps import Changes, Effect, Undo
from gantry.ports.store import Operation, Put

A = TypeVar("A", bound=msgspec.Struct)

RECORD_BYTES: Final = 200_000
"""Undo data of one intent; more becomes several intents."""


class Recorded(msgspec.Struct, frozen=True):
    """An intent of the journal with its results, None where they are not known."""

    number: int
    effects: tuple[EffectRecord, ...]
    results: tuple[Result, ...] | None


Gate = Callable[[tuple[Operation, ...]], Awaitable[None]]
"""Makes the beginning durable with the operations given, then runs the pre scripts."""


class JournaledSteps:
    """Steps of one operation. ``gate`` (a weak reference) is passed before anything is issued,
    and once.

    ``recorded`` is what an earlier master journaled; ``intents`` is the whole journal now.
    """

    def __init__(
        self,
        context: Context,
        entry: Entry,
        op: int,
        *,
        now: float,
        gate: Callable[[], Gate | None],
        recorded: Sequence[Recorded] = (),
        secrets: dict[str, str] | None = None,
        secrets_lost: bool = False,
    ) -> None:
        self._context = context
        self._entry = entry
        self._op = op
        self._now = now
        self._gate = gate
        self._secrets = secrets or {}
        self._secrets_lost = secrets_lost
        self._known: dict[str, tuple[EffectRecord, Result | None]] = {}
        for each in recorded:
            results = each.results or (None,) * len(each.effects)
            for effect, result in zip(each.effects, results, strict=True):
                self._known[effect.name] = (effect, result)
        self._silent = bool(self._known)
        self._busy = False
        self._held: list[tuple[str, LogKind]] = []
        self._fresh: list[Recorded] = []
        self.intents = list(recorded)
        self.passed = any(each.results is not None for each in recorded)
        """Whether the gate is behind us."""
        self.issued = bool(recorded)
        """Whether something may have been done."""

    @property
    def now(self) -> float:
        """When the operation was planned."""
        return self._now

    @property
    def secrets(self) -> dict[str, str]:
        """Secret OS parameters; raises OperationFailed where a crash lost them."""
        if self._secrets_lost:
            raise OperationFailed(
                "the master was restarted meanwhile, and secret parameters are never kept",
                "submit the job again",
            )
        return self._secrets

    def log(self, text: str, kind: LogKind = LogKind.MESSAGE) -> None:
        """A line for the job's log; not said again on a replay, nor before the scripts agreed."""
        if self._silent:
            return
        if self.passed:
            issue.say(self._context, self._entry, text, kind, self._op)
        else:
            self._held.append((text, kind))

    def warn(self, text: str) -> None:
        """A warning for the job's log."""
        self.log(text, LogKind.WARNING)

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
        """One effect; raises what the agent said."""
        if undo is not None and not isinstance(undo, Undo):
            undo = Undo(node, undo)
        effect = Effect(name=name, node=node, order=order, undo=undo)
        [answer] = await self.all([effect], first=first, timeout=timeout)
        return answer  # type: ignore[no-any-return]  # the answer's type is the order's

    async def all(
        self,
        effects: Sequence[Effect],
        *,
        first: Changes | None = None,
        timeout: float | None = None,
    ) -> list[Any]:
        """Several effects side by side; the first error is raised when all are settled."""
        if not effects:
            return []
        if self._busy:
            raise RuntimeError("steps are taken one after the other; use steps.all for several")
        self._busy = True
        try:
            wait = timeout or timeouts.NORMAL
            results = await self._perform(effects, first or Changes(), wait)
        finally:
            self._busy = False
        self._entry.check_cancelled()
        for effect, result in zip(effects, results, strict=True):
            if result.error is not None and not effect.otherwise:
                raise from_info(result.error)
        for effect, result in zip(effects, results, strict=True):
            if result.error is not None:
                self.warn(f"{effect.otherwise}: {result.error.message}")
        return [
            None
            if result.error is not None
            else msgspec.json.decode(result.answer, type=effect.order.answer)
            for effect, result in zip(effects, results, strict=True)
        ]

    async def pass_gate(self) -> None:
        """The operation has no effects, or none yet, and its scripts must run now."""
        if not self.passed:
            await self._pass(())

    async def _pass(self, ops: tuple[Operation, ...]) -> None:
        """Through the gate."""
        gate = self._gate()
        assert gate is not None, "the steps have outlived their operation"
        await gate(ops)
        self.passed = True
        self.say_held()

    def say_held(self) -> None:
        """What was said on the way to the gate is true now: nothing can deny it any more."""
        held, self._held = self._held, []
        for text, kind in held:
            issue.say(self._context, self._entry, text, kind, self._op)

    async def _perform(
        self, effects: Sequence[Effect], first: Changes, timeout: float
    ) -> list[Result]:
        self._entry.check_cancelled()
        records = [self._record(effect) for effect in effects]
        results = self._replay(records)
        if results is None:
            await self._intend(records, first)
        elif None not in results:
            return [result for result in results if result is not None]
        elif not self.passed:
            await self._pass(())
        self._silent = False
        self._entry.check_cancelled()
        self.issued = True
        found = await asyncio.gather(
            *(
                self._issue(effect, record, timeout)
                for effect, record in zip(effects, records, strict=True)
            )
        )
        self._settle(records, found)
        return found

    def _replay(self, records: Sequence[EffectRecord]) -> list[Result | None] | None:
        """What an earlier master knew of these effects; None where they are new."""
        known = [self._known.pop(record.name, None) for record in records]
        if not any(known):
            if self._known:
                raise Halt(_differs(next(iter(self._known))))
            return None
        for record, found in zip(records, known, strict=True):
            if found is None or found[0].digest != record.digest:
                raise Halt(_differs(record.name))
        return [found[1] for found in known if found is not None]

    def _record(self, effect: Effect) -> EffectRecord:
        if effect.undo is None:
            undo_to, undo = None, b""
        else:
            undo_to, undo = self._to(effect.undo.node), codec.encode_sorted(effect.undo.order)
        return EffectRecord(
            name=effect.name,
            to=self._to(effect.node),
            digest=codec.digest(effect.name, effect.node, effect.order, undo),
            undo_to=undo_to,
            undo=effect.undo.order if effect.undo else None,  # type: ignore[arg-type]  # AnyOrder
        )

    def _to(self, node: Uuid) -> Address:
        return self._context.address(node)

    async def _intend(self, records: Sequence[EffectRecord], first: Changes) -> None:
        names = {effect.name for each in self.intents for effect in each.effects}
        for record in records:
            if record.name in names:
                raise RuntimeError(f"two effects are called {record.name!r}")
            names.add(record.name)
        self._silent = False
        if (first.put or first.mirrors) and not self.passed:
            await self._pass(())  # nothing changes before the scripts agree
        ops = [*self.unsaved()]
        for group in _groups(records):
            number = len(self.intents)
            self.intents.append(Recorded(number, tuple(group), None))
            log = self._entry.log.unsaved() if self._entry.log else ()
            key = codec.intent_key(self._entry.job.uid, self._op, number)
            ops.append(Put(key, codec.encode(IntentRecord(effects=tuple(group), log=log))))
        if self.passed:
            await self._context.journal.write(ops, put=first.put, mirrors=first.mirrors)
        else:
            await self._pass(tuple(ops))

    def unsaved(self) -> list[Operation]:
        """The puts of results that the store does not know yet, and from now on does."""
        uid, ops = self._entry.job.uid, list[Operation]()
        for each in self._fresh:
            assert each.results is not None
            key = codec.result_key(uid, self._op, each.number)
            ops.append(Put(key, codec.encode(ResultRecord(results=each.results))))
        self._fresh = []
        return ops

    def _settle(self, records: Sequence[EffectRecord], found: Sequence[Result]) -> None:
        """Note the results where their intents are, for the next commit."""
        by_name = {record.name: result for record, result in zip(records, found, strict=True)}
        for index, each in enumerate(self.intents):
            if each.results is None and each.effects[0].name in by_name:
                results = tuple(by_name[effect.name] for effect in each.effects)
                self.intents[index] = Recorded(each.number, each.effects, results)
                self._fresh.append(self.intents[index])

    async def _issue(self, effect: Effect, record: EffectRecord, timeout: float) -> Result:
        secrets = self.secrets if isinstance(effect.order, (TransferOpen, *OS_SCRIPTS)) else None
        key = effect_key(self._entry, self._op, effect.name)
        try:
            answer = await issue.issue(
                self._context,
                self._entry,
                record.to,
                key,
                effect.order,
                timeout=timeout,
                secrets=secrets,
                op=self._op,
            )
        except GantryError as error:
            return Result(error=limits.error(error.info()))
        return Result(answer=msgspec.Raw(msgspec.json.encode(answer)))


def effect_key(entry: Entry, op: int, name: str) -> str:
    """The key of an effect: the job's random id, never its number."""
    return f"{entry.job.uid}/{op}/{name}"


def _groups(records: Sequence[EffectRecord]) -> list[list[EffectRecord]]:
    groups: list[list[EffectRecord]] = [[]]
    size = 0
    for record in records:
        size += len(codec.encode(record))
        if size > RECORD_BYTES and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(record)
    return groups


def _differs(name: str) -> GantryError:
    return OperationFailed(
        f"the program was changed while the job ran: step {name!r} is not what was begun",
        "what had been done was undone: submit the job again",
    )
