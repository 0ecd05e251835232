"""Effects by key: done once, remembered, in order within a job, never for an old master.

- The same key again: done → the same answer; running → attached to; another order → refused.
- One job's orders run one after the other, in the order of their arrival.
- A lower epoch is refused, durably; what still waits when a new master announces itself, too.
- An order says until when, on this agent's clock, it may begin. One that comes later, or was
  timed on another clock, is refused, and so is one whose turn comes when that time is over,
  unless its master has been heard of since.
- A cancelled key stays cancelled, even if its order arrives only afterwards.
- Make-it-so orders are remembered when they have ended; scripts also when they begin, so that
  a restarted agent can say that they were interrupted. Of orders whose programs take long it is
  remembered what these are known by: a restarted agent ends them, and takes the order again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeAlias

import apsw
import msgspec

from gantry.agent import markers
from gantry.agent.effect import Effect, Task
from gantry.agent.memory import Memory
from gantry.agent.turns import Turns
from gantry.host.clock import boottime
from gantry.model.errors import (
    Cancelled,
    GantryError,
    Interrupted,
    OperationFailed,
    OtherClock,
    Reason,
    Rejected,
    Stopping,
    Superseded,
    TooLate,
)
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.model.orders import AfterDeath, AnyOrder, HooksRun, encode
from gantry.ports.agents import Envelope, Moment
from gantry.rpc import wire

logger = logging.getLogger(__name__)

KEEP: Final = 7 * 86400.0
"""Seconds for which an effect is remembered that no master asked to forget."""
_CANCELLED: Final = b""
"""Digest of a key that was cancelled before its order came."""

Work: TypeAlias = Callable[[Task], Awaitable[msgspec.Struct]]


class Effects:
    """All effects of one agent."""

    def __init__(self, memory: Memory, node: str) -> None:
        self._memory = memory
        self._node = node
        self._epoch = memory.epoch
        self._master = memory.master
        self._clock = os.urandom(8).hex()
        self._job = memory.highest_job
        self._running: dict[str, Effect] = {}
        self._turns = Turns()
        self._until = 0.0
        """The latest moment until which an order of the present master may begin."""
        self._stopping = False
        """Nothing is begun any more."""
        self._closing = False
        """What still runs is being ended."""
        self.left = False
        """The machine has left the cluster: nothing new is accepted."""

    def recover(self) -> None:
        """Once, at the start: scripts that an earlier agent left have been ended.

        OperationFailed where that cannot be noted down: nobody would learn of it.
        """
        with self._noting("what was interrupted when the last one ended"):
            self._recover()

    def _recover(self) -> None:
        for key, marker in self._memory.open_effects().items():
            error = Interrupted(
                f"the agent was restarted {markers.when(marker)}; its processes were ended",
                node=self._node,
            )
            logger.warning("interrupted effect=%s", key)
            self._memory.interrupt(key, wire.error(error.info()), time.time())
            self._memory.scripts_ended(key)
        self._memory.prune(time.time() - KEEP)
        self._memory.forget_scripts()

    def moment(self) -> Moment:
        """Now, on this agent's clock."""
        return Moment(self._clock, boottime())

    @property
    def seen(self) -> MasterSeen:
        """What was heard of masters until now."""
        return MasterSeen(epoch=self._epoch, node=self._master, job=self._job)

    def announce(self, epoch: int, node: Uuid | None) -> MasterSeen:
        """The master on ``node`` says its epoch; what had been heard before.

        Superseded where this one is older, or is another node's.
        """
        before = self.seen
        self.check(epoch)
        if before.epoch == epoch and node is not None and self._master not in (None, node):
            raise Superseded(
                f"epoch {epoch} is that of another node's master, as node {self._node} has seen",
                "another master has taken over",
                reason=Reason.STATE,
                node=self._node,
            )
        if node is not None and node != self._master:
            with self._noting():
                self._memory.set_epoch(epoch, node)
            self._master = node
        return before

    def check(self, epoch: int) -> None:
        """Refuse an older master, for ever; keep the epoch of a newer one."""
        if epoch < self._epoch:
            raise Superseded(
                f"the order has epoch {epoch}, but node {self._node} has seen epoch {self._epoch}",
                "another master has taken over",
                reason=Reason.STATE,
                node=self._node,
            )
        if epoch > self._epoch:
            with self._noting():
                self._memory.set_epoch(epoch, None)
            logger.info("new epoch=%d", epoch)
            self._epoch, self._master = epoch, None
            self._until = 0.0

    def begin(self, envelope: Envelope, order: AnyOrder, work: Work) -> Effect:
        """The effect of that key: begun now, running or done; Rejected where it may not be."""
        self.check(envelope.epoch)
        digest = _digest(order)
        self._heard(envelope)
        running = self._running.get(envelope.key)
        if running is not None:
            running.epoch = envelope.epoch
            return self._same(running, digest)
        attempt = order.attempt if isinstance(order, HooksRun) else 0
        known = self._memory.get(envelope.key)
        if known is not None and known.outcome is not None:
            found = Effect(envelope.key, known.digest, envelope.epoch, known.outcome)
            again = attempt > known.attempt and b'"code":"interrupted"' in known.outcome
            if not again:
                return self._same(found, digest)
        self._admit(envelope)
        effect = Effect(envelope.key, digest, envelope.epoch)
        task = Task(envelope, effect, self._memory)
        if order.after_death is AfterDeath.INTERRUPTED:
            effect.script = True
            with self._noting():
                key, now = envelope.key, time.time()
                self._memory.begin_script(key, digest, now, attempt, markers.of(order))
        elif order.after_death is AfterDeath.ENDED_AND_DONE_AGAIN:
            effect.script = True
            with self._noting():
                self._memory.mark(envelope.key, markers.of(order))
        self._running[envelope.key] = effect
        effect.task = asyncio.get_running_loop().create_task(
            self._run(effect, task, work, attempt), name=envelope.key
        )
        effect.task.add_done_callback(lambda _task: self._never_began(effect, attempt))
        return effect

    def admit(self, envelope: Envelope) -> bool:
        """Refuse what ``begin`` would refuse, of an order that leaves nothing to remember.

        False where something is known of the key already: then ``begin`` has the answer.
        """
        self.check(envelope.epoch)
        if envelope.key in self._running or self._memory.get(envelope.key) is not None:
            return False
        self._heard(envelope)
        self._admit(envelope)
        return True

    async def cancel(self, key: str, epoch: int) -> None:
        """End what runs under ``key``; when it returns, it has ended."""
        self.check(epoch)
        effect = self._running.get(key)
        if effect is None or effect.task is None:
            if self._memory.get(key) is None:
                # It may still be on its way: it must find the door closed.
                with self._noting():
                    self._memory.put(key, _CANCELLED, self._cancelled(), time.time())
            return
        effect.task.cancel()
        await asyncio.wait([effect.task])

    def forget(self, prefixes: Sequence[str], epoch: int) -> None:
        """The master does not need those effects any more."""
        self.check(epoch)
        with self._noting():
            for prefix in filter(None, prefixes):
                self._memory.forget(prefix)

    def leave(self) -> None:
        """The machine leaves the cluster: nothing new is accepted."""
        self.left = True

    async def close(self, patience: float) -> None:
        """Begin nothing more, let what runs end within ``patience`` seconds, and end the rest.

        What comes now, and what is ended here, is not remembered: the master issues it again.
        """
        self._stopping = True
        tasks = [effect.task for effect in self._running.values() if effect.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            self._closing = True
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _same(self, effect: Effect, digest: bytes) -> Effect:
        if effect.digest not in (digest, _CANCELLED):
            raise Rejected(
                f"another order was given under the key {effect.key}",
                "a key is one effect for ever; this is a fault of the master",
                reason=Reason.INTERNAL,
                node=self._node,
            )
        return effect

    def _heard(self, envelope: Envelope) -> None:
        """What the present master said of its time also holds for what waits."""
        if envelope.clock == self._clock:
            self._until = max(self._until, envelope.until)
        if envelope.job > self._job:
            with self._noting():
                self._memory.set_highest_job(envelope.job)
            self._job = envelope.job

    @contextlib.contextmanager
    def _noting(self, what: str = "what it is told") -> Iterator[None]:
        """What cannot be noted down is not begun."""
        try:
            yield
        except apsw.Error as error:
            raise OperationFailed(
                f"the agent of node {self._node} cannot note down {what}: {error}",
                "see whether the node's disk is full or broken",
                reason=Reason.ENVIRONMENT,
                node=self._node,
            ) from error

    def _admit(self, envelope: Envelope) -> None:
        if self.left:
            raise Rejected(
                f"node {self._node} accepts no orders any more: it leaves the cluster",
                reason=Reason.STATE,
                node=self._node,
            )
        if self._stopping:
            raise self._stopped("so the order was not begun")
        if envelope.clock != self._clock:
            raise OtherClock(
                f"the agent of node {self._node} was restarted since the order was timed",
                "the master announces itself and gives the order again",
                reason=Reason.STATE,
                node=self._node,
            )
        if boottime() > envelope.until:
            raise TooLate(
                f"the order came to node {self._node} after its time, so it is not carried out",
                "a master that is still the master gives it again",
                reason=Reason.STATE,
                node=self._node,
            )

    def _cancelled(self) -> bytes:
        if self._closing:
            return wire.error(self._stopped("before the order was done").info())
        return wire.error(Cancelled("cancelled by the master", node=self._node).info())

    async def _run(self, effect: Effect, task: Task, work: Work, attempt: int) -> None:
        remember = True
        try:
            async with self._turns.of(_job(effect.key)):
                refusal = self._refusal(effect)
                if refusal is not None:
                    outcome, remember = wire.error(refusal.info()), False
                else:
                    # The line by which two masters could be found out afterwards.
                    logger.info("begun effect=%s epoch=%d", effect.key, effect.epoch)
                    async with asyncio.timeout(task.envelope.timeout):
                        outcome = wire.answer(await work(task))
        except GantryError as error:
            outcome = wire.error(error.info())
        except TimeoutError:
            outcome = wire.error(self._late(task.envelope.timeout).info())
        except asyncio.CancelledError:
            outcome, remember = self._cancelled(), not self._closing
        except Exception:
            # A bug of ours in one order must not take the agent down, nor leave a job hanging.
            logger.exception("failed unexpectedly effect=%s", effect.key)
            outcome = wire.error(self._bug().info())
        self._end(effect, outcome, attempt if remember else None)

    def _never_began(self, effect: Effect, attempt: int) -> None:
        """A task that is cancelled before its first step runs no line of its code."""
        if effect.outcome is None:
            self._end(effect, self._cancelled(), None if self._closing else attempt)

    def _end(self, effect: Effect, outcome: bytes, attempt: int | None) -> None:
        self._running.pop(effect.key, None)
        try:
            self._remember(effect, outcome, attempt)
        except apsw.Error as error:
            # It is done all the same, and whoever waits must hear of it.
            logger.error("cannot be remembered effect=%s: %s", effect.key, error)
        effect.settle(outcome)

    def _remember(self, effect: Effect, outcome: bytes, attempt: int | None) -> None:
        if attempt is not None:
            remember = self._memory.end_script if effect.script else self._memory.put
            remember(effect.key, effect.digest, outcome, time.time(), attempt)
        elif not self._closing:
            self._memory.delete(effect.key)
            if effect.script:
                self._memory.scripts_ended(effect.key)

    def _refusal(self, effect: Effect) -> GantryError | None:
        """Why it may not be done any more, now that its turn has come."""
        if effect.epoch < self._epoch:
            return Superseded(
                f"a master with epoch {self._epoch} came while an order of epoch {effect.epoch} "
                "waited for its turn",
                "another master has taken over",
                reason=Reason.STATE,
                node=self._node,
            )
        if boottime() > self._until:
            return TooLate(
                f"the order's time ended while it waited for its turn on node {self._node}",
                "a master that is still the master gives it again",
                reason=Reason.STATE,
                node=self._node,
            )
        return None

    def _stopped(self, what: str) -> Stopping:
        return Stopping(
            f"the agent of node {self._node} was stopped, {what}",
            "start it again: systemctl start gantry-agent",
            reason=Reason.STATE,
            node=self._node,
        )

    def _late(self, timeout: float) -> OperationFailed:
        return OperationFailed(
            f"it took longer than {timeout:g} seconds on node {self._node} and was ended",
            node=self._node,
        )

    def _bug(self) -> OperationFailed:
        return OperationFailed(
            f"a fault in the agent of node {self._node}",
            "its log says more; please report it",
            node=self._node,
        )


def _digest(order: AnyOrder) -> bytes:
    if isinstance(order, HooksRun):
        # Hooks that are run again after a crash are the same effect. The attempt is another, and
        # a master that took over tells its own name, and the cluster as others left it meanwhile.
        same = f"{order.job} {order.run_id} {order.dry_run}".encode()
    else:
        same = encode(order)
    return hashlib.blake2b(same, digest_size=16).digest()


def _job(key: str) -> str:
    """The job's random id: what a key begins with, also when its debris is cleared away."""
    return key.removeprefix("debris/").partition("/")[0]
