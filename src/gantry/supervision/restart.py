"""Guests that should be up and are down are started again: by a job, with its hooks.

At most 5 times in 8 hours, as operators of Ganeti's watcher know it; also after a node's
reboot. Nothing is started while the node does not answer, and nothing that another job is
about to change (the job takes the instance's lock and looks again).
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
from gantry.model.snapshot import Snapshot
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue

_log = logging.getLogger(__name__)

TRIES: Final = 5
WATCHER: Final = "gnt:watcher"


def wanted(cluster: Snapshot, node: Uuid) -> list[Instance]:
    """The instances of ``node`` that should be up and certainly are not.

    A guest that powered itself off counts too, unless its ``user_shutdown`` allows that.
    """
    live = cluster.node_live(node)
    entity = cluster.nodes.get(node)
    if entity is None or entity.offline or not live.reachable or not cluster.cluster.maintain:
        return []
    return [
        one
        for one in cluster.instances_of(node)
        if one.admin_state is AdminState.UP and not _up(cluster, one)
    ]


def _up(cluster: Snapshot, instance: Instance) -> bool:
    guest = cluster.guest(instance)
    return guest is not None and guest.up


def left_by_user(cluster: Snapshot, instance: Instance) -> bool:
    """Whether the guest was shut down from inside and its instance allows that."""
    guest = cluster.guest(instance)
    allowed = instance.hvparams.get("user_shutdown") or cluster.cluster.hvparams.get(
        instance.hypervisor, {}
    ).get("user_shutdown")
    return guest is not None and guest.state is GuestState.SHUT_DOWN and bool(allowed)


class Restarts:
    """Submits the jobs, and counts."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._tries: dict[Uuid, list[float]] = {}
        self._told: set[Uuid] = set()

    async def look(self, nodes: Iterable[Uuid]) -> set[Uuid]:
        """Start again what should be up on these nodes.

        Gives the nodes to look at again later: a job is about one of their instances now, and
        may leave it down against the operator's wish (because it fails, say).
        """
        cluster, later = self._queue.snapshot(), set()
        for node in nodes:
            for instance in wanted(cluster, node):
                if self._queue.concerns(locks.instance(instance.uuid)):
                    later.add(node)
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
        recent = [
            at for at in self._tries.get(instance.uuid, []) if now - at < timeouts.RESTART_WINDOW
        ]
        if len(recent) >= TRIES:
            if instance.uuid not in self._told:
                _log.error(
                    "instance %s was started %d times in %d hours: not again",
                    instance.name,
                    TRIES,
                    int(timeouts.RESTART_WINDOW // 3600),
                )
                self._told.add(instance.uuid)
            return
        self._told.discard(instance.uuid)
        self._tries[instance.uuid] = [*recent, now]
        await self._submit(
            {
                "OP_ID": "OP_INSTANCE_STARTUP",
                "instance_name": instance.name,
                "if_needed": True,
            },
            f"should be up and is down (try {len(recent) + 1} of {TRIES})",
        )

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
