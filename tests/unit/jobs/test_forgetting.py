"""What agents remember of a job is forgotten when it has ended, wherever it did something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
from tests.fakes.agents import FakeAgents
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, instance, node_uuid
from tests.fakes.world import World

from gantry.model.jobs import JobStatus
from gantry.model.orders import GuestStart, Order
from gantry.ports.agents import Address, Envelope, Progress

A = TypeVar("A", bound=msgspec.Struct)

MODIFY = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1.example.com"}


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("phase", ["pre", "post", "fail"])
async def test_scripts_are_forgotten_on_nodes_where_nothing_else_was_done(
    phase: str, status: int
) -> None:
    cluster = await FakeCluster.make([instance(1, node=2)])
    await cluster.start()
    master, other = (cluster.world.nodes[node_uuid(number)] for number in (1, 2))
    for node in (master, other):
        node.add_hook(f"instance-modify-{phase}.d", "10-site", exit_status=status)
    if phase == "fail":
        other.add_hook("instance-modify-pre.d", "10-denies", exit_status=1)
    job = await cluster.run({**MODIFY, "beparams": {"vcpus": 3}})
    denied = phase == "fail" or (phase == "pre" and status)
    assert job.status is (JobStatus.ERROR if denied else JobStatus.SUCCESS)
    await cluster.engine.settle()
    assert master.hook_runs, "something ran that could be remembered"
    assert not cluster.agents.remembered
    await cluster.close()


class Late(FakeAgents):
    """The start of a guest waits, and a cancel comes when all is over."""

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        super().__init__(world, now=now)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.cancelling, self.over = asyncio.Event(), asyncio.Event()

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        if isinstance(order, GuestStart):
            self.begun.set()
            await self.go_on.wait()
        return await super().order(to, envelope, order, progress)

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        self.cancelling.set()
        await self.over.wait()
        await super().cancel(to, key, epoch)


async def test_a_cancel_that_comes_too_late_is_forgotten() -> None:
    made = await FakeCluster.make([instance(1)])
    clock = FakeClock()
    agents = Late(made.world, clock.monotonic)
    cluster = FakeCluster(made.store, agents, clock)
    engine = await cluster.start()
    job = await cluster.submit({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
    await agents.begun.wait()
    cancel = asyncio.create_task(engine.cancel(job, kill=True))
    await agents.cancelling.wait()
    agents.go_on.set()
    assert (await engine.wait(job)).status is JobStatus.CANCELED
    await engine.settle()
    agents.over.set()
    await cancel
    await engine.settle()
    assert not agents.remembered
    await cluster.close()
