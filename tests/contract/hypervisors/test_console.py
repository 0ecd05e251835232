"""What every hypervisor driver promises about consoles."""

from __future__ import annotations

import uuid

import pytest
from tests.contract.hypervisors.worlds import PORTION, Node, World, reads, reads_portion

from gantry.hypervisors.console import BUFFER, TOO_SLOW
from gantry.model.errors import Rejected
from gantry.model.names import Uuid


async def test_a_console_begins_with_what_was_said_before(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await reads(await node.driver.console(spec.uuid), b"up")

    late = await node.driver.console(spec.uuid)

    assert b"up" in await reads(late, b"up")


async def test_what_is_typed_reaches_the_guest_and_every_reader(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    first = await node.driver.console(spec.uuid)
    second = await node.driver.console(spec.uuid)
    await reads(first, b"up")

    await first.write(b"hello")

    await reads(first, b"hello")
    await reads(second, b"hello")


async def test_a_reader_that_does_not_read_holds_nobody_up(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    stalled = await node.driver.console(spec.uuid)
    alive = await node.driver.console(spec.uuid)
    await reads(alive, b"up")

    for _ in range(BUFFER // PORTION + 2):
        await world.babble(alive)
        await reads_portion(alive)

    said = b"".join([data async for data in stalled.output()])
    assert said.endswith(TOO_SLOW)
    assert len(said) < BUFFER


async def test_a_closed_console_says_no_more(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    console = await node.driver.console(spec.uuid)

    await console.close()

    assert [data async for data in console.output()] == []


async def test_a_console_ends_with_its_guest(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    console = await node.driver.console(spec.uuid)

    await node.driver.stop(spec.uuid, timeout=1, force=True)

    said = b"".join([data async for data in console.output()])
    assert TOO_SLOW not in said
    await console.write(b"nobody hears this")


async def test_a_console_is_there_again_for_a_new_agent(node: Node, world: World) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await reads(await node.driver.console(spec.uuid), b"up")

    await node.reopen()

    console = await node.driver.console(spec.uuid)
    await console.write(b"again")
    await reads(console, b"again")
    assert (await node.driver.console_address(spec.uuid)).kind == "serial"


async def test_nobody_has_no_console(node: Node) -> None:
    with pytest.raises(Rejected, match="not running"):
        await node.driver.console(Uuid(str(uuid.uuid4())))
    with pytest.raises(Rejected, match="not running"):
        await node.driver.console_address(Uuid(str(uuid.uuid4())))
