"""Nodes that come with another bundle of hooks than they are to have get it by a job.

Once each time that a node comes, so that one that refuses it (a local file is in the way, say) is
not asked over and over.
"""

from __future__ import annotations

import logging

from gantry.hooks import rollout
from gantry.model import locks
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
        self._tried: dict[Uuid, str] = {}

    def came(self, node: Uuid) -> None:
        """The node was heard of anew: it may be tried again.

        Even where it was not lost meanwhile: a push may have found it away all the same.
        """
        self._tried.pop(node, None)

    async def look(self) -> bool:
        """Submit what is due; whether to look again soon, since a push is under way."""
        cluster = self._queue.snapshot()
        due = {
            uuid: sha256
            for uuid, sha256 in rollout.behind(cluster).items()
            if self._tried.get(uuid) != sha256
        }
        if not due:
            return False
        if self._queue.concerns(locks.HOOKS):
            return True
        by_number: dict[int, list[str]] = {}
        for uuid in due:
            number = rollout.wanted(cluster, uuid) or 0
            by_number.setdefault(number, []).append(cluster.nodes[uuid].name)
        self._tried.update(due)
        for number, names in by_number.items():
            try:
                await self._submit(names)
            except GantryError as error:
                _log.warning("bundle %d for %s: %s", number, ", ".join(names), error)
        return False

    async def _submit(self, names: list[str]) -> None:
        now = self._clock.now()
        await self._queue.submit(
            Submission(
                ops=({"OP_ID": "OP_HOOK_PUSH", "node_names": names, "catch_up": True},),
                request_id=self._clock.uuid(),
                priority=Priority.NORMAL,
                reason=((_WHO, "came with another bundle of hooks", int(now * 1e9)),),
                requester=_WHO,
            )
        )
