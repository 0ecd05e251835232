"""What all parts of the engine share: the ports, the state in memory, background work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gantry.hooks.policy import NONE, Policy
from gantry.jobs.election import Mastership
from gantry.jobs.journal import Journal, Lost
from gantry.jobs.locks import LockTable
from gantry.jobs.reservations import Reservations
from gantry.jobs.state import State
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.jobs import Submission
from gantry.model.names import JobId, Uuid
from gantry.ports.agents import Address, Agents, Envelope
from gantry.ports.clock import Clock

logger = logging.getLogger(__name__)


class Background:
    """Work that no job waits for; ended in order with the engine."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` beside everything else; its errors are logged."""
        task = asyncio.get_running_loop().create_task(self._run(work))
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            # One that was ended before its first step is not to be complained about.
            work.close()

        task.add_done_callback(done)

    async def settle(self) -> None:
        """Until all of it is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """End all of it now."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _run(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Lost:
            return
        except GantryError as error:
            logger.warning("in the background: %s", error.message)
        except Exception:
            logger.exception("in the background")


async def _nobody(submission: Submission) -> JobId:
    raise GantryError("there is no queue yet")


class Context:
    """Given to the runner and its helpers; holds no logic but looking things up."""

    def __init__(
        self,
        *,
        journal: Journal,
        agents: Agents,
        clock: Clock,
        state: State,
        locks: LockTable,
        reservations: Reservations,
        mastership: Mastership,
        hook_policy: Callable[[], Policy] = lambda: NONE,
    ) -> None:
        self.journal = journal
        self.agents = agents
        self.clock = clock
        self.state = state
        self.locks = locks
        self.reservations = reservations
        self.node = mastership.node
        """Where this master runs."""
        self.epoch = mastership.epoch
        self.lease_left = mastership.lease_left
        self.elected = mastership.elected
        """Whether another master takes over by itself."""
        self.hook_policy = hook_policy
        """What the master node's ``hooks.toml`` says now; raises PolicyError."""
        self.background = Background()
        self.submit: Callable[[Submission], Awaitable[JobId]] = _nobody
        """Takes a further job; the queue's."""
        self.over: dict[Address, list[str]] = {}
        """Prefixes of keys that agents are being told to forget."""

    def address(self, node: Uuid) -> Address:
        """Where a node's agent answers, also of a machine that is joining; or Rejected."""
        snapshot = self.state.snapshot()
        found = snapshot.nodes.get(node) or snapshot.joined.get(node)
        if found is None:
            raise Rejected(f"there is no node {node}", reason=Reason.UNKNOWN, object_name=node)
        return Address(node=node, name=found.name, host=found.primary_ip, port=found.port)

    def envelope(
        self, key: str, job: JobId, timeout: float, secrets: dict[str, str] | None = None
    ) -> Envelope:
        """What travels with an order that is sent now; Lost where the lease is over."""
        left = self.lease_left()
        if left <= 0:
            raise self.journal.lease_over()
        return Envelope(
            key=key,
            job=job,
            epoch=self.epoch,
            until=self.clock.monotonic() + left,
            timeout=timeout,
            secrets=secrets or {},
        )
