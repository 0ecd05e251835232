"""An engine on three fake nodes, for the benchmarks of this directory."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.cluster import FakeCluster

from gantry.jobs.queue import Engine
from gantry.model.entities import AnyEntity
from gantry.ports.store import Store


async def engine_on(store: Store, objects: Sequence[AnyEntity] = ()) -> tuple[FakeCluster, Engine]:
    """A cluster in memory whose state is in ``store``, and its master."""
    cluster = await FakeCluster.make(objects, store=store)
    return cluster, await cluster.start()
