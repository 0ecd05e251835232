"""Nodes that come with another bundle than they are to have get it by a job.

Once each time that a node comes, so that one that refuses it (a local file is in the way, say) is
not asked over and over.
"""

from __future__ import annotations

import logging

from gantry.model import locks, rollout
from gantry.model.bundles import os_name
from gantry.model.errors import GantryError
from gantry.model.jobs import Priority, Submission
from gantry.model.names import Uuid
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue

_log = logging.getLogger(__name__)
_WHO = "gnt:bundles"


class CatchUp:
    """Remembers what was tried."""

    def __init__(self, queue: Queue, clock: Clock) -> None:
        self._queue = queue
        self._clock = clock
        self._tried: dict[tuple[str, Uuid], str] = {}

    def came(self, node: Uuid) -> None:
        """The node was heard of anew: it may be tried again.

        Even where it was not lost meanwhile: a push may have found it away all the same.
        """
        for tried in [one for one in self._tried if one[1] == node]:
            del self._tried[tried]

    async def look(self) -> bool:
        """Submit what is due; whether to look again soon, since a push is under way."""
        cluster = self._queue.snapshot()
        under_way = False
        by_number: dict[tuple[str, int], list[str]] = {}
        for (target, uuid), sha256 in rollout.behind(cluster).items():
            if self._tried.get((target, uuid)) == sha256:
                continue
            if self._queue.concerns(locks.bundle(target)):
                under_way = True
                continue
            self._tried[target, uuid] = sha256
            number = rollout.wanted(cluster, target, uuid) or 0
            by_number.setdefault((target, number), []).append(cluster.nodes[uuid].name)
        for (target, number), names in by_number.items():
            try:
                await self._submit(target, names)
            except GantryError as error:
                what = rollout.described(target, number)
                _log.warning("%s for %s: %s", what, ", ".join(names), error)
        return under_way

    async def _submit(self, target: str, names: list[str]) -> None:
        now = self._clock.now()
        operation = {"OP_ID": "OP_HOOK_PUSH", "node_names": names, "catch_up": True}
        if name := os_name(target):
            operation |= {"OP_ID": "OP_OS_PUSH", "os_name": name}
        await self._queue.submit(
            Submission(
                ops=(operation,),
                request_id=self._clock.uuid(),
                priority=Priority.NORMAL,
                reason=((_WHO, "came with another bundle than it is to have", int(now * 1e9)),),
                requester=_WHO,
            )
        )
