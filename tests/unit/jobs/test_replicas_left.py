"""A replica that is taken away is served until nothing is mirrored to it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.faults.mirrored import UP, WEB, running
from tests.unit.operations.mirrored import DISK, mirror

from gantry.jobs import codec
from gantry.jobs.codec import DebrisRecord
from gantry.model.jobs import JobStatus
from gantry.model.names import JobId
from gantry.model.orders import DiskRemove
from gantry.model.replica_orders import MirrorRelease, ReplicaClose
from gantry.operations.steps import specs
from gantry.ports.store import Put

REMOVE: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_REMOVE_MDDRBD",
    "instance_name": "web1",
    "disk_name": 0,
    "disk_id": 1,
    "force": True,
}
RELEASE = MirrorRelease(guest=WEB, hypervisor="fake", index=0, node=node_uuid(2))


class Slow:
    """Node 1 takes its time to release a mirror; what began and ended there and on node 2."""

    def __init__(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.happened: list[str] = []
        for number in (1, 2):
            node = cluster.world.nodes[node_uuid(number)]
            monkeypatch.setattr(node, "carry_out", self._slowly(node.carry_out))

    def _slowly(self, carry_out: Any) -> Any:
        async def slow(order: Any, say: Any) -> Any:
            if isinstance(order, MirrorRelease):
                self.asked.set()
                await self.go_on.wait()
            answer = await carry_out(order, say)
            if isinstance(order, MirrorRelease | ReplicaClose | DiskRemove):
                self.happened.append(type(order).__name__)
            return answer

        return slow

    async def until_asked(self) -> None:
        async with asyncio.timeout(100):
            await self.asked.wait()
            # Whatever else could be done at the same time has its turn.
            for _ in range(1000):
                await asyncio.sleep(0)


async def test_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = await FakeCluster.make([UP, mirror()])
    running(cluster)
    await cluster.start()
    slow = Slow(cluster, monkeypatch)
    job = await cluster.submit(REMOVE)
    await slow.until_asked()
    assert slow.happened == []
    slow.go_on.set()
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    await cluster.engine.settle()
    assert slow.happened[0] == "MirrorRelease"
    assert set(slow.happened) == {"MirrorRelease", "ReplicaClose", "DiskRemove"}
    await cluster.close()


@pytest.mark.parametrize("away", [False, True])
async def test_where_it_is_owed(away: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """But a primary that cannot be told keeps nobody from cleaning up."""
    whole = mirror()
    left = {node_uuid(1): whole.replicas[node_uuid(1)]}
    cluster = await FakeCluster.make([UP, msgspec.structs.replace(whole, replicas=left)])
    running(cluster)
    disk = specs.disk(0, DISK)
    owed: list[tuple[int, Any]] = [
        (1, RELEASE),
        (2, ReplicaClose(disk=disk)),
        (2, DiskRemove(disk=disk)),
    ]
    for number, (node, order) in enumerate(owed):
        record = DebrisRecord(job=JobId(7), to=cluster.address(node), order=order)
        key = codec.debris_key("7" * 24, 0, number)
        await cluster.store.txn([], [Put(key, codec.encode(record))])
    slow = Slow(cluster, monkeypatch)
    if away:
        cluster.agents.disconnect(cluster.world.nodes[node_uuid(1)])
    await cluster.start()
    if not away:
        await slow.until_asked()
        assert slow.happened == []
        slow.go_on.set()
    await cluster.engine.settle()
    assert away or slow.happened[0] == "MirrorRelease"
    assert {"ReplicaClose", "DiskRemove"} <= set(slow.happened)
    await cluster.close()
