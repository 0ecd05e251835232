"""``ports.agents.Agents`` over a world in memory, with faults on request.

It keeps the same promises as the real agents, and runs through the same contract suite:
effects are idempotent by key, one job's orders run in order, lower epochs are refused.
"""

from __future__ import annotations

import asyncio
import copy
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from tests.fakes.world import FakeNode, World

from gantry.host.clock import boottime
from gantry.model import timeouts
from gantry.model.errors import (
    Cancelled,
    ErrorInfo,
    GantryError,
    Interrupted,
    OperationFailed,
    Reason,
    Rejected,
    Stopping,
    Superseded,
    TooLate,
    Unavailable,
    from_info,
)
from gantry.model.master_orders import MasterSeen, ReadMaster
from gantry.model.names import Uuid
from gantry.model.orders import HooksRan, HooksRun, Order, Question, encode
from gantry.ports.agents import (
    Address,
    Announced,
    Envelope,
    Event,
    Heartbeat,
    Hello,
    Moment,
    Progress,
)

A = TypeVar("A", bound=msgspec.Struct)

_CANCELLED = b""
"""Digest of a key that was cancelled before its order came."""


class Fault(enum.Enum):
    """What goes wrong with one order."""

    FAILS = "fails"
    """The agent says OperationFailed; nothing was done."""
    FAILS_AFTER = "fails-after"
    """It was done, and then the agent says OperationFailed."""
    UNREACHABLE = "unreachable"
    """Unavailable; nothing was done."""
    STOPPING = "stopping"
    """The agent is being stopped; nothing was done."""
    ANSWER_LOST = "answer-lost"
    """It was done; the master sees Unavailable."""
    RESTARTED = "restarted"
    """It was done, but the agent has been restarted meanwhile and says Interrupted."""
    VANISHES = "vanishes"
    """It was done, and from then on the node does not answer."""
    CRASH_BEFORE = "crash-before"
    """The master dies before the order is sent: ``crashed`` is set, the call never returns."""
    CRASH_AFTER = "crash-after"
    """The order was carried out, and the master dies before it sees the answer."""


class Call(msgspec.Struct, frozen=True):
    """One call of ``order``; ``number`` counts from 0."""

    number: int
    node: FakeNode
    envelope: Envelope
    order: Order[Any]


class _Effect(msgspec.Struct):
    digest: bytes
    listeners: list[Callable[[Progress], None]]
    task: asyncio.Task[None] | None = None
    answer: msgspec.Struct | None = None
    error: ErrorInfo | None = None


def _digest(order: Order[Any]) -> bytes:
    # A repeat of hooks after a crash is the same effect, whatever a new master tells of itself.
    if isinstance(order, HooksRun):
        return f"{order.job} {order.run_id} {order.dry_run}".encode()
    return encode(order)


def _cancelled() -> ErrorInfo:
    return Cancelled("cancelled by the master").info()


class _Memory:
    """What one agent remembers."""

    def __init__(self) -> None:
        self.epoch = 0
        self.master: Uuid | None = None
        self.until = 0.0
        self.job = 0
        self.effects: dict[str, _Effect] = {}
        self.queues: dict[str, asyncio.Lock] = {}


class FakeAgents:
    """All agents of a world. ``faults`` maps the number of an order call to what goes wrong;
    ``fault`` may decide it for each call instead. ``heartbeat`` is in seconds,
    ``now`` the master's clock, which is also that of all nodes.
    """

    def __init__(
        self,
        world: World,
        heartbeat: float = timeouts.EVENT_HEARTBEAT,
        now: Callable[[], float] = boottime,
    ) -> None:
        self.world = world
        self.master = Uuid("00000000-0000-4000-8000-000000000101")
        """The node of the master that calls."""
        self._now = now
        self.calls: list[Call] = []
        """Every call of ``order`` so far, repeats included."""
        self.faults: dict[int, Fault] = {}
        self.fault: Callable[[Call], Fault | None] = lambda call: self.faults.get(call.number)
        self.crashed = asyncio.Event()
        """Set when a CRASH fault was met: the test drops the master now."""
        self.unreachable: set[Uuid] = set()
        self._heartbeat = heartbeat
        self._memory: dict[Uuid, _Memory] = {}
        self._cut: dict[Uuid, set[asyncio.Queue[Event | None]]] = {}

    # Of the port

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """See the port."""
        call = Call(len(self.calls), self.world.nodes[to.node], envelope, order)
        self.calls.append(call)
        fault = self.fault(call)
        node = self._reach(to)
        await self._before(fault, to)
        try:
            effect = self._begin(node, envelope, order)
            if progress is not None:
                effect.listeners.append(progress)
            if effect.task is not None:
                # What an agent does goes on when the master that asked for it goes away.
                await asyncio.wait([effect.task])
        except GantryError as error:
            raise from_info(msgspec.structs.replace(error.info(), node=to.name)) from None
        await self._after(fault, to)
        if effect.error is not None:
            raise from_info(msgspec.structs.replace(effect.error, node=to.name))
        answer: Any = effect.answer
        return answer  # type: ignore[no-any-return]  # the world answers by the type of the order

    async def ask(self, to: Address, question: Question[A], timeout: float) -> A:
        """See the port."""
        node = self._reach(to)
        if isinstance(question, ReadMaster):
            seen: Any = self._seen(node)
            return seen  # type: ignore[no-any-return]  # as below
        try:
            asked: Any = question
            answer: Any = node.answer(asked)
        except GantryError as error:
            raise from_info(msgspec.structs.replace(error.info(), node=to.name)) from None
        return answer  # type: ignore[no-any-return]  # as above

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        """See the port."""
        memory = self._check(self._reach(to), epoch)
        effect = memory.effects.get(key)
        if effect is None:
            # It may still be on its way: it must find the door closed.
            memory.effects[key] = _Effect(_CANCELLED, [], error=_cancelled())
        elif effect.task is not None and not effect.task.done():
            effect.task.cancel()
            await asyncio.wait([effect.task])
            if effect.answer is None and effect.error is None:
                # Cancelled before its first step, a task runs no line of its code.
                effect.error = _cancelled()

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None:
        """See the port."""
        memory = self._check(self._reach(to), epoch)
        for key, effect in list(memory.effects.items()):
            if key.startswith(tuple(prefixes)) and (
                effect.answer is not None or effect.error is not None
            ):
                del memory.effects[key]

    async def announce(self, to: Address, epoch: int) -> Announced:
        """See the port."""
        node = self._reach(to)
        memory = self._of(node)
        known, whose = memory.epoch, memory.master
        if known == epoch and whose not in (None, self.master):
            raise self._superseded(node, epoch, known)
        self._check(node, epoch)
        memory.master = self.master
        if 0 < known < epoch:
            for queue in self._cut.get(node.uuid, ()):
                queue.put_nowait(None)
        return Announced(
            epoch=known, node=whose, job=memory.job, guests=node.live, moment=self._moment()
        )

    async def events(self, of: Address) -> AsyncIterator[Event]:
        """See the port."""
        node = self._reach(of)
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        silence = node.listen(queue.put_nowait)
        self._cut.setdefault(node.uuid, set()).add(queue)
        try:
            yield Hello(facts=node.facts(), guests=node.live, moment=self._moment())
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat):
                        event = await queue.get()
                except TimeoutError:
                    event = Heartbeat(self._moment())
                if event is None:
                    raise self._gone(of)
                yield event
        finally:
            silence()
            self._cut[node.uuid].discard(queue)

    # For tests

    @property
    def remembered(self) -> set[str]:
        """Keys of the effects that any agent remembers; phases without a script are none."""
        return {
            key
            for memory in self._memory.values()
            for key, effect in memory.effects.items()
            if not (isinstance(effect.answer, HooksRan) and not effect.answer.ran)
        }

    def seen_from(self, master: Uuid) -> FakeAgents:
        """The same agents as the master on the node ``master`` calls them."""
        other = copy.copy(self)
        other.master = master
        return other

    def address(self, node: FakeNode) -> Address:
        """How a master calls it."""
        return Address(node=node.uuid, name=node.name, host="127.0.0.1", port=1811)

    def disconnect(self, node: FakeNode) -> None:
        """The node does not answer from now on, and its event streams end."""
        self.unreachable.add(node.uuid)
        for queue in self._cut.get(node.uuid, ()):
            queue.put_nowait(None)

    def reconnect(self, node: FakeNode) -> None:
        """The node answers again."""
        self.unreachable.discard(node.uuid)

    async def close(self) -> None:
        """End what still runs on the nodes."""
        tasks = [
            effect.task
            for memory in self._memory.values()
            for effect in memory.effects.values()
            if effect.task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inside

    def _gone(self, to: Address) -> Unavailable:
        return Unavailable(f"node {to.name} does not answer", node=to.name)

    def _reach(self, to: Address) -> FakeNode:
        node = self.world.nodes.get(to.node)
        if node is None or node.uuid in self.unreachable:
            raise self._gone(to)
        return node

    def _of(self, node: FakeNode) -> _Memory:
        return self._memory.setdefault(node.uuid, _Memory())

    def _check(self, node: FakeNode, epoch: int) -> _Memory:
        memory = self._of(node)
        if epoch < memory.epoch:
            raise self._superseded(node, epoch, memory.epoch)
        if epoch > memory.epoch:
            memory.epoch, memory.master, memory.until = epoch, None, 0.0
        return memory

    def _superseded(self, node: FakeNode, epoch: int, known: int) -> Superseded:
        return Superseded(
            f"the order has epoch {epoch}, but node {node.name} has seen epoch {known}",
            "another master has taken over",
            reason=Reason.STATE,
            node=node.name,
        )

    def _seen(self, node: FakeNode) -> MasterSeen:
        memory = self._of(node)
        return MasterSeen(
            epoch=memory.epoch, node=memory.master, job=memory.job, waiting=node.waiting
        )

    def _moment(self) -> Moment:
        return Moment("fake", self._now())

    def _begin(self, node: FakeNode, envelope: Envelope, order: Order[Any]) -> _Effect:
        memory = self._check(node, envelope.epoch)
        memory.until = max(memory.until, envelope.until)
        memory.job = max(memory.job, envelope.job)
        known = memory.effects.get(envelope.key)
        if known is not None:
            if known.digest not in (_CANCELLED, _digest(order)):
                raise Rejected(f"another order was given under {envelope.key}")
            return known
        if self._now() > envelope.until:
            raise TooLate("the order came after its time", reason=Reason.STATE)
        if node.left:
            raise Rejected("the machine has left the cluster", reason=Reason.STATE)
        effect = _Effect(_digest(order), [])
        memory.effects[envelope.key] = effect
        effect.task = asyncio.get_running_loop().create_task(
            self._run(node, envelope, order, effect)
        )
        return effect

    async def _run(self, node: FakeNode, envelope: Envelope, order: Any, effect: _Effect) -> None:
        def say(line: Progress) -> None:
            for listener in effect.listeners:
                listener(line)

        job = envelope.key.partition("/")[0]
        memory = self._of(node)
        try:
            async with memory.queues.setdefault(job, asyncio.Lock()):
                if envelope.epoch < memory.epoch:
                    del memory.effects[envelope.key]
                    self._check(node, envelope.epoch)
                if self._now() > memory.until:
                    del memory.effects[envelope.key]
                    raise TooLate("the order's time ended while it waited for its turn")
                async with asyncio.timeout(envelope.timeout):
                    effect.answer = await node.carry_out(order, say)
        except GantryError as error:
            effect.error = error.info()
        except TimeoutError:
            effect.error = OperationFailed(
                f"it took longer than {envelope.timeout:g} seconds and was ended"
            ).info()
        except asyncio.CancelledError:
            effect.error = _cancelled()

    async def _before(self, fault: Fault | None, to: Address) -> None:
        match fault:
            case Fault.FAILS:
                raise OperationFailed(f"injected failure on {to.name}", node=to.name)
            case Fault.UNREACHABLE:
                raise self._gone(to)
            case Fault.STOPPING:
                raise Stopping(f"the agent of node {to.name} was stopped", node=to.name)
            case Fault.CRASH_BEFORE:
                await self._crash()

    async def _after(self, fault: Fault | None, to: Address) -> None:
        match fault:
            case Fault.FAILS_AFTER:
                raise OperationFailed(f"injected failure on {to.name}", node=to.name)
            case Fault.ANSWER_LOST:
                raise self._gone(to)
            case Fault.RESTARTED:
                raise Interrupted(f"the agent of node {to.name} was restarted", node=to.name)
            case Fault.VANISHES:
                self.disconnect(self.world.nodes[to.node])
                raise self._gone(to)
            case Fault.CRASH_AFTER:
                await self._crash()

    async def _crash(self) -> None:
        self.crashed.set()
        await asyncio.get_running_loop().create_future()
