"""Bundles that came to be named by a job: too large to be a job's parameter.

Known by its hash, a bundle changes nothing by being here: a job puts it on nodes.
"""

from __future__ import annotations

import asyncio

from gantry.jobs.context import Context
from gantry.jobs.journal import Lost, unavailable
from gantry.model import bundles, rollout
from gantry.model.entities import Bundle


class Uploads:
    """Takes bundles, durably."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = asyncio.Lock()

    async def bundle(self, target: str, packed: bytes) -> Bundle:
        """The bundle, with the number that it has now or had already; Rejected where it is none."""
        bundles.check_target(target)
        files = await asyncio.to_thread(bundles.unpack, packed)
        manifest = bundles.entries(files)
        sha256 = bundles.digest(manifest)
        async with self._lock:
            cluster = self._context.state.snapshot()
            known = rollout.by_hash(cluster, target, sha256)
            if known is not None:
                return known
            number = max((one.number for one in rollout.kept(cluster, target)), default=0) + 1
            now = self._context.clock.now()
            made = Bundle(
                uuid=self._context.clock.uuid(),
                name=f"{target}-{number}",
                target=target,
                number=number,
                sha256=sha256,
                packed=bundles.pack(files),
                files=manifest,
                ctime=now,
                mtime=now,
            )
            old = rollout.surplus(cluster.with_changes(cluster.revision, [made]), target)
            try:
                await self._context.journal.write([], put=(made,), delete=old)
            except Lost:
                raise unavailable() from None
            return made
