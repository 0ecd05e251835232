"""Guests that should be up and are down are started again: by a job, with its hooks.

At most 5 times in 8 hours, as operators of Ganeti's watcher know it, with growing pauses, so
that what mends itself in some minutes is met by a later try; also after a node's reboot.
Nothing is started while the node does not answer, and nothing that another job is about to
change (the job takes the instance's lock and looks again).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from gantry.model import locks, timeouts
from gantry.model.entities import AdminState, Instance
from gantry.model.errors import GantryError
from gantry.model.jobs import Priority, Submission
from gantry.model.live import GuestState
from gantry.model.names import Uuid
from gantry.model.parameters import hypervisor_parameters
from gantry.model.snapshot import Snapshot
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue

_log = logging.getLogger(__name__)

TRIES: Final = len(timeouts.RESTART_PAUSES)
WATCHER: Final = "gnt:watcher"
_START: Final = "OP_INSTANCE_STARTUP"


def wanted(cluster: Snapshot, node: Uuid) -> list[Instance]:
    """The instances of ``node`` that should be up and certainly are not."""
    if not _supervised(cluster, node):
        return []
    return [one for one in cluster.instances_of(node) if _down(cluster, one)]


def _supervised(cluster: Snapshot, node: Uuid) -> bool:
    entity = cluster.nodes.get(node)
    return (
        entity is not None
        and not entity.offline
        and cluster.node_live(node).reachable
        and cluster.cluster.maintain
    )


def _down(cluster: Snapshot, instance: Instance) -> bool:
    if instance.admin_state is not AdminState.UP:
        return False
    guest = cluster.guest(instance)
    return guest is None or not guest.up


def left_by_user(cluster: Snapshot, instance: Instance) -> bool:
    """Whether the guest was shut down from inside and ``user_shutdown`` allows that."""
    guest = cluster.guest(instance)
    if guest is None or guest.state is not GuestState.SHUT_DOWN:
        return False
    filled = hypervisor_parameters(
        cluster.cluster, instance.hypervisor, instance.os, instance.hvparams
    )
    return bool(filled.get("user_shutdown"))


class Restarts:
    """Submits the jobs, and counts."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._tries: dict[Uuid, list[float]] = {}
        self._earlier: dict[Uuid, list[float]] = {}
        self._told: set[Uuid] = set()

    def recall(self) -> None:
        """Count the tries of earlier masters too, as far as their jobs are still listed."""
        known = self._queue.snapshot().instance_names
        for job in self._queue.jobs():
            for record in job.ops if job.requester == WATCHER else ():
                uuid = known.get(str(record.input.get("instance_name")))
                if uuid is not None and record.input.get("OP_ID") == _START:
                    self._earlier.setdefault(uuid, []).append(job.received)

    async def look(self, nodes: Iterable[Uuid] = (), instances: Iterable[Uuid] = ()) -> set[Uuid]:
        """Start again what should be up: on these nodes, and of these instances.

        Gives the instances to look at again later: a job is about them now and may leave them
        down against the operator's wish (because it fails, say), or it is too early for a try.
        """
        cluster = self._queue.snapshot()
        found = dict.fromkeys(instances)
        found |= dict.fromkeys(one.uuid for node in nodes for one in wanted(cluster, node))
        later: set[Uuid] = set()
        for uuid in found:
            # A job may have come and gone since the last one was submitted.
            cluster = self._queue.snapshot()
            instance = cluster.instances.get(uuid)
            if instance is None or not _supervised(cluster, instance.primary_node):
                continue
            if not _down(cluster, instance):
                continue
            later.add(uuid)
            if self._queue.concerns(locks.instance(uuid)):
                continue
            try:
                await self._one(cluster, instance)
            except GantryError as error:
                _log.warning("cannot start instance %s again: %s", instance.name, error)
        return later

    async def _one(self, cluster: Snapshot, instance: Instance) -> None:
        if left_by_user(cluster, instance):
            await self._submit(
                {
                    "OP_ID": "OP_INSTANCE_SHUTDOWN",
                    "instance_name": instance.name,
                    "admin_state_source": "user",
                },
                "shut down from inside",
            )
            return
        now = self._clock.now()
        recent = self._recent(cluster, instance, now)
        if len(recent) >= TRIES:
            self._give_up(instance)
            return
        if recent and now - recent[-1] < timeouts.RESTART_PAUSES[len(recent)]:
            return
        self._told.discard(instance.uuid)
        await self._submit(
            {"OP_ID": _START, "instance_name": instance.name, "if_needed": True},
            f"should be up and is down (try {len(recent) + 1} of {TRIES})",
        )
        self._tries.setdefault(instance.uuid, []).append(now)

    def _recent(self, cluster: Snapshot, instance: Instance, now: float) -> list[float]:
        """When it was tried lately. What was stopped in order is not held to earlier masters'
        tries: a whole cluster that is taken down and up again is no failure of its guests.
        """
        guest = cluster.guest(instance)
        tries = self._tries.get(instance.uuid, [])
        if guest is None or guest.state is not GuestState.STOPPED:
            tries = [*self._earlier.get(instance.uuid, []), *tries]
        recent = sorted(at for at in tries if now - at < timeouts.RESTART_WINDOW)
        if not recent:
            self._tries.pop(instance.uuid, None)
        return recent

    def _give_up(self, instance: Instance) -> None:
        if instance.uuid not in self._told:
            hours = int(timeouts.RESTART_WINDOW // 3600)
            _log.error(
                "instance %s was started %d times in %d hours: not again",
                instance.name,
                TRIES,
                hours,
            )
            self._told.add(instance.uuid)

    async def _submit(self, op: dict[str, Any], why: str) -> None:
        now = self._clock.now()
        await self._queue.submit(
            Submission(
                ops=(op,),
                request_id=self._clock.uuid(),
                priority=Priority.NORMAL,
                reason=((WATCHER, why, int(now * 1e9)),),
                requester=WATCHER,
            )
        )
