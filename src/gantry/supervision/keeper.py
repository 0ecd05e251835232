"""Carries out what ``replicas`` decides: commits, orders, and jobs that mirror anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from gantry.model import locks, timeouts
from gantry.model.entities import Instance, ReplicaState
from gantry.model.errors import GantryError
from gantry.model.jobs import Priority, Submission
from gantry.model.names import Uuid
from gantry.model.replica_orders import MirrorRelease, ReplicaMark
from gantry.model.replicas import ReplicaBecame
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import specs
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue
from gantry.supervision import replicas
from gantry.supervision.replicas import IN_SYNC, STALE, SYNCING, Forsake, Release, Settle, Step

_log = logging.getLogger(__name__)

WHO = "gnt:replicas"


class Keeper:
    """One task an instance, so that a node that does not answer holds up nobody else.

    ``again`` is called with an instance that is to be looked at once more, after a while.
    """

    def __init__(self, queue: Queue, clock: Clock, again: Callable[[Uuid], None]) -> None:
        self._queue = queue
        self._clock = clock
        self._again = again
        self._tasks: dict[Uuid, asyncio.Task[None]] = {}
        self._repeat: set[Uuid] = set()
        self._missing: dict[tuple[Uuid, Uuid], float] = {}
        self._tries: dict[Uuid, list[float]] = {}

    def look(self, instances: Iterable[Uuid]) -> None:
        """Something about these has changed; those without mirrored disks cost nothing."""
        for uuid in instances:
            if uuid in self._tasks:
                self._repeat.add(uuid)
            else:
                task = asyncio.create_task(self._keep(uuid), name=f"replicas of {uuid}")
                self._tasks[uuid] = task

    def of_node(self, node: Uuid) -> set[Uuid]:
        """The instances to look at when something about a node has changed."""
        return replicas.mirrored(self._queue.snapshot(), node)

    async def settle(self) -> None:
        """Until nothing is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def close(self) -> None:
        """End everything; what is not done is done by the next master."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, uuid: Uuid) -> None:
        try:
            while True:
                self._repeat.discard(uuid)
                later = await self._once(uuid)
                if uuid not in self._repeat:
                    break
            if later:
                self._again(uuid)
        except GantryError as error:
            _log.warning("replicas of instance %s: %s", self._name(uuid), error)
            self._again(uuid)
        finally:
            self._tasks.pop(uuid, None)

    async def _once(self, uuid: Uuid) -> bool:
        """Whether to look again later."""
        cluster = self._queue.snapshot()
        instance = cluster.instances.get(uuid)
        if instance is None:
            return False
        decision = self._decide(cluster, instance)
        self._note(instance, decision.missing)
        for step in decision.steps:
            await self._take(instance, step)
        if decision.sync:
            await self._sync(instance)
        elif not decision.again:
            self._tries.pop(uuid, None)
        return decision.again or bool(decision.steps)

    def _decide(self, cluster: Snapshot, instance: Instance) -> replicas.Decision:
        since = self._clock.monotonic() - timeouts.MIRROR_MISSING
        return replicas.decide(
            cluster,
            instance,
            guards=replicas.guarded(cluster, self._queue.jobs(), instance),
            busy=self._queue.concerns(locks.instance(instance.uuid)),
            missing={key for key, seen in self._missing.items() if seen <= since},
        )

    def _note(self, instance: Instance, missing: frozenset[tuple[Uuid, Uuid]]) -> None:
        """Since when nothing has been mirrored where something should be."""
        now, disks = self._clock.monotonic(), {disk.uuid for disk in instance.disks}
        for key in [key for key in self._missing if key[0] in disks and key not in missing]:
            del self._missing[key]
        for key in missing:
            self._missing.setdefault(key, now)

    async def _take(self, instance: Instance, step: Step) -> None:
        node = self._queue.snapshot().nodes.get(step.node)
        where = node.name if node is not None else step.node
        match step:
            case Release():
                await self._release(instance, step, where)
            case Forsake():
                _log.error("instance %s is not mirrored to node %s", instance.name, where)
                await self._became(step.disk, step.node, STALE)
            case Settle():
                await self._settle(instance, step, where)

    async def _release(self, instance: Instance, step: Release, where: str) -> None:
        if step.mark:
            _log.warning(
                "instance %s: the replica of disk %d on node %s is lost",
                instance.name,
                step.index,
                where,
            )
            await self._became(step.disk, step.node, STALE)
        cluster = self._queue.snapshot()
        if step.node in replicas.guarded(cluster, self._queue.jobs(), instance):
            # A job that came meanwhile may take this very replica: the writes go on waiting.
            return
        order = MirrorRelease(
            guest=instance.uuid,
            hypervisor=instance.hypervisor,
            index=step.index,
            node=step.node,
        )
        await self._queue.tell(instance.primary_node, order, timeouts.URGENT)

    async def _settle(self, instance: Instance, step: Settle, where: str) -> None:
        before = self._queue.snapshot().guest(instance)
        disk = instance.disks[step.index]
        mark = ReplicaMark(
            disk=specs.disk(step.index, disk), generation=disk.generation, state=IN_SYNC
        )
        await self._queue.tell(step.node, mark, timeouts.URGENT)
        cluster = self._queue.snapshot()
        now = cluster.instances.get(instance.uuid)
        if now is None or now.primary_node != instance.primary_node:
            return
        guest = cluster.guest(now)
        if guest is None or before is None or guest.since != before.since:
            return  # another run of the guest: what was ready is of the one before
        if step not in self._decide(cluster, now).steps:
            return
        await self._became(step.disk, step.node, IN_SYNC, only_from=SYNCING)
        _log.info(
            "instance %s: the replica of disk %d on node %s is in sync",
            instance.name,
            step.index,
            where,
        )

    async def _became(
        self,
        disk: Uuid,
        node: Uuid,
        state: ReplicaState,
        only_from: ReplicaState | None = None,
    ) -> None:
        change = ReplicaBecame(disk=disk, node=node, state=state, only_from=only_from)
        await self._queue.change(mirrors=(change,))

    async def _sync(self, instance: Instance) -> None:
        """A job mirrors anew; with growing pauses, so that what cannot work is not tried on."""
        now = self._clock.now()
        tries = self._tries.setdefault(instance.uuid, [])
        pauses = timeouts.SYNC_PAUSES
        if tries and now - tries[-1] < pauses[min(len(tries), len(pauses) - 1)]:
            return
        tries.append(now)
        await self._queue.submit(
            Submission(
                ops=({"OP_ID": "OP_INSTANCE_SYNC_DISKS", "instance_name": instance.name},),
                request_id=self._clock.uuid(),
                priority=Priority.NORMAL,
                reason=((WHO, "a replica is stale and its node is there", int(now * 1e9)),),
                requester=WHO,
            )
        )

    def _name(self, uuid: Uuid) -> str:
        found = self._queue.snapshot().instances.get(uuid)
        return found.name if found is not None else uuid
