"""What every hypervisor driver promises about starting, ending and finding guests again."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from tests.contract.hypervisors.worlds import Node, World, reads

from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestState
from gantry.model.names import Uuid

NOBODY = Uuid(str(uuid.uuid4()))


async def test_facts_say_what_new_instances_are_pinned_to(node: Node) -> None:
    facts = await node.driver.facts()

    assert facts.available
    assert facts.why
    assert facts.machine
    assert facts.cpu_model


async def test_a_started_guest_runs_and_is_told_of(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")

    guest = await node.driver.start(spec)

    assert guest.state is GuestState.RUNNING
    assert (guest.name, guest.memory, guest.vcpus) == ("web1.gantry.test", 32, 1)
    assert node.told == [guest]
    assert node.driver.guests() == (guest,)
    assert await node.driver.read_guests() == (guest,)


async def test_starting_what_runs_changes_nothing(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    first = await node.driver.start(spec)

    assert await node.driver.start(spec) == first
    assert len(node.told) == 1


async def test_two_starts_at_once_make_one_guest(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")

    first, second = await asyncio.gather(node.driver.start(spec), node.driver.start(spec))

    assert first == second


async def test_an_orderly_stop_ends_it_as_ordered(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await reads(await node.driver.console(spec.uuid), b"up")

    await node.driver.stop(spec.uuid, timeout=15)

    ended = node.guest(spec.uuid)
    assert ended.state is GuestState.STOPPED
    assert not ended.up
    assert node.told[-1] == ended


async def test_stopping_twice_and_stopping_nobody_are_successes(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)

    await node.driver.stop(spec.uuid, timeout=1, force=True)
    await node.driver.stop(spec.uuid, timeout=1)
    await node.driver.stop(NOBODY, timeout=1)

    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_guest_that_ignores_the_order_is_powered_off(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test", obedient=False)
    await node.driver.start(spec)
    said: list[str] = []

    await node.driver.stop(spec.uuid, timeout=0.5, progress=said.append)

    assert node.guest(spec.uuid).state is GuestState.STOPPED
    assert "did not shut down within 0.5 s" in said[-1]


async def test_force_does_not_ask(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test", obedient=False)
    await node.driver.start(spec)

    async with asyncio.timeout(50):
        await node.driver.stop(spec.uuid, timeout=60, force=True)

    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_cancelled_stop_leaves_the_guest(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test", obedient=False)
    await node.driver.start(spec)
    stopping = asyncio.create_task(node.driver.stop(spec.uuid, timeout=60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.shield(stopping)

    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    assert (await node.driver.read_guests())[0].state is GuestState.RUNNING
    guest = node.guest(spec.uuid)
    await world.crash(node, guest)
    assert (await node.until(spec.uuid, GuestState.DIED)).reason


async def test_force_overtakes_an_orderly_stop(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test", obedient=False)
    await node.driver.start(spec)
    orderly = asyncio.create_task(node.driver.stop(spec.uuid, timeout=60))
    await asyncio.sleep(0)

    await node.driver.stop(spec.uuid, timeout=60, force=True)

    async with asyncio.timeout(50):
        await orderly
    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_guest_starts_again_after_its_end(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await node.driver.stop(spec.uuid, timeout=1, force=True)

    assert (await node.driver.start(spec)).state is GuestState.RUNNING
    assert len(node.driver.guests()) == 1


async def test_a_death_is_noticed_and_explained(node: Node, world: World) -> None:
    guest = await node.driver.start(world.spec("web1.gantry.test"))

    await world.crash(node, guest)

    died = await node.until(guest.uuid, GuestState.DIED)
    assert died.reason
    assert node.guest(guest.uuid) == died


async def test_a_shutdown_from_inside_is_told_from_a_death(node: Node, world: World) -> None:
    guest = await node.driver.start(world.spec("web1.gantry.test"))

    await world.power_off(node, guest)

    await node.until(guest.uuid, GuestState.SHUT_DOWN)
    assert all(told.state is not GuestState.DIED for told in node.told)


async def test_a_new_agent_finds_its_guests_running(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    guest = await node.driver.start(spec)

    await node.reopen()

    assert node.driver.guests() == (guest,)
    assert await node.driver.start(spec) == guest
    await node.driver.stop(spec.uuid, timeout=1, force=True)
    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_new_agent_knows_how_guests_had_ended(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await node.driver.stop(spec.uuid, timeout=1, force=True)
    ended = node.guest(spec.uuid)

    await node.reopen()

    assert node.driver.guests() == (ended,)


async def test_a_death_between_two_agents_is_a_death(node: Node, world: World) -> None:
    guest = await node.driver.start(world.spec("web1.gantry.test"))
    await node.driver.close()

    await world.crash_unseen(guest)
    await node.reopen()

    assert node.guest(guest.uuid).state is GuestState.DIED
    assert node.guest(guest.uuid).reason


async def test_a_shutdown_from_inside_between_two_agents_is_one(node: Node, world: World) -> None:
    guest = await node.driver.start(world.spec("web1.gantry.test"))
    await reads(await node.driver.console(guest.uuid), b"up")
    await node.driver.close()

    await world.power_off_unseen(guest)
    await node.reopen()

    if node.guest(guest.uuid).up:
        await node.until(guest.uuid, GuestState.SHUT_DOWN)
    assert node.guest(guest.uuid).state is GuestState.SHUT_DOWN


async def test_a_guest_may_be_started_paused_and_stopped(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")

    guest = await node.driver.start(spec, paused=True)
    assert guest.state is GuestState.PAUSED
    assert (await node.driver.read_guests())[0].state is GuestState.PAUSED

    await node.driver.stop(spec.uuid, timeout=5)
    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_failed_start_leaves_nothing(node: Node, world: World) -> None:
    spec = world.broken("web1.gantry.test")

    with pytest.raises(OperationFailed, match=r"could not start web1\.gantry\.test: "):
        await node.driver.start(spec)

    assert node.driver.guests() == ()
    assert node.told == []
    await node.reopen()
    assert node.driver.guests() == ()


async def test_reset_needs_a_running_guest(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    with pytest.raises(Rejected, match="not running"):
        await node.driver.reset(spec.uuid)

    await node.driver.start(spec)
    console = await node.driver.console(spec.uuid)
    await reads(console, b"up")
    await node.driver.reset(spec.uuid)

    await reads(console, b"up")
    assert (await node.driver.read_guests())[0].state is GuestState.RUNNING


async def test_what_is_kept_of_a_guest_can_be_dropped_once_it_is_down(
    node: Node, world: World
) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    with pytest.raises(Rejected, match="is up"):
        await node.driver.forget(spec.uuid)

    await node.driver.stop(spec.uuid, timeout=1, force=True)
    await node.driver.forget(spec.uuid)
    await node.driver.forget(spec.uuid)

    assert node.driver.guests() == ()
    assert not list(world.root.rglob(f"*{spec.uuid}*"))
