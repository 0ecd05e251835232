"""What every hypervisor driver promises about guests that go to another node as they run."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors.worlds import Node, World, reads

from gantry.hypervisors.contract import Link, Manner
from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.identity import node_host, node_subject
from gantry.model.live import GuestState
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec
from gantry.pki.authority import Authority

CLUSTER = Uuid("00000000-0000-4000-8000-000000000001")
HERE, THERE, STRANGER = (Uuid(str(uuid.UUID(int=number, version=4))) for number in (5, 6, 7))
NAMES = {HERE: "node1.gantry.test", THERE: "node2.gantry.test", STRANGER: "node3.gantry.test"}
LOCAL = "127.0.0.1"


class Pair:
    """Two nodes; the second sees the disks of the first."""

    def __init__(self, world: World, root: Path) -> None:
        authority = Authority.create(CLUSTER, "test", 1_800_000_000.0 - 86400 * 365)
        self.certificates = root / "certificates"
        for one, name in NAMES.items():
            issued = authority.issue_node(one, name, 1_700_000_000.0)
            directory = self.certificates / one
            directory.mkdir(parents=True)
            (directory / "ca-cert.pem").write_text(authority.certificate)
            for end in ("server", "client"):
                (directory / f"{end}-cert.pem").write_text(issued.certificate)
                (directory / f"{end}-key.pem").write_text(issued.key)
        self.here = Node(world)
        self.there = Node(world.sibling())

    def link(self, own: Uuid, peer: Uuid, *, calls: bool) -> Link:
        name = node_host(CLUSTER, peer) if calls else node_subject(NAMES[peer], peer)
        return Link(directory=str(self.certificates / own), host=LOCAL, peer=name)

    async def receive(self, spec: GuestSpec, disks: tuple[int, ...] = ()) -> Ports:
        described = await self.here.driver.describe(spec.uuid)
        return await self.there.driver.receive(
            described.spec,
            described.accelerator,
            self.link(THERE, HERE, calls=False),
            disks,
        )

    async def send(
        self,
        spec: GuestSpec,
        ports: Ports,
        *,
        own: Uuid = HERE,
        peer: Uuid = THERE,
        disks: tuple[int, ...] = (),
        manner: Manner | None = None,
    ) -> list[str]:
        said: list[str] = []
        await self.here.driver.send(
            spec.uuid,
            self.link(own, peer, calls=True),
            ports,
            disks,
            manner or Manner(lasts=60),
            said.append,
        )
        return said

    def states(self, guest: Uuid) -> tuple[GuestState, GuestState]:
        return self.here.guest(guest).state, self.there.guest(guest).state


@pytest.fixture
async def pair(world: World, tmp_path: Path) -> AsyncIterator[Pair]:
    pair = Pair(world, tmp_path)
    await pair.here.open()
    await pair.there.open()
    yield pair
    for node in (pair.here, pair.there):
        for guest in node.driver.guests():
            await node.driver.stop(guest.uuid, timeout=0, force=True)
        await node.driver.close()


async def up(pair: Pair, world: World, name: str = "web1.gantry.test") -> GuestSpec:
    spec = world.spec(name)
    await pair.here.driver.start(spec)
    await reads(await pair.here.driver.console(spec.uuid), b"up")
    return spec


@pytest.mark.parametrize("live", [True, False])
async def test_a_guest_goes_on_running_on_the_other_node(
    pair: Pair, world: World, live: bool
) -> None:
    spec = await up(pair, world)
    ports = await pair.receive(spec)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.PAUSED)
    assert await pair.receive(spec) == ports, "it waits already"
    said = await pair.send(spec, ports, manner=Manner(live=live, lasts=60))
    assert any("sent" in line for line in said)
    assert pair.states(spec.uuid) == (GuestState.PAUSED, GuestState.PAUSED)
    guest = await pair.there.driver.resume(spec.uuid)
    assert guest.state is GuestState.RUNNING
    assert pair.states(spec.uuid) == (GuestState.PAUSED, GuestState.RUNNING)
    assert (await pair.there.driver.resume(spec.uuid)).state is GuestState.RUNNING
    await pair.here.driver.stop(spec.uuid, timeout=0, force=True)
    await pair.here.driver.forget(spec.uuid)
    console = await pair.there.driver.console(spec.uuid)
    await console.write(b"x")
    await reads(console, b"x")
    await pair.there.until(spec.uuid, GuestState.RUNNING)


async def test_it_comes_back_the_same_way(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    await pair.send(spec, await pair.receive(spec))
    await pair.there.driver.resume(spec.uuid)
    await pair.here.driver.stop(spec.uuid, timeout=0, force=True)
    described = await pair.there.driver.describe(spec.uuid)
    link = pair.link(HERE, THERE, calls=False)
    ports = await pair.here.driver.receive(described.spec, described.accelerator, link, ())
    link = pair.link(THERE, HERE, calls=True)
    manner = Manner(lasts=60)
    await pair.there.driver.send(spec.uuid, link, ports, (), manner, lambda _text: None)
    assert (await pair.here.driver.resume(spec.uuid)).state is GuestState.RUNNING
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.PAUSED)


async def test_what_was_sent_can_be_taken_back(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    await pair.send(spec, await pair.receive(spec))
    await pair.there.driver.stop(spec.uuid, timeout=0, force=True)
    await pair.here.driver.take_back(spec.uuid)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)
    await pair.here.driver.take_back(spec.uuid)
    console = await pair.here.driver.console(spec.uuid)
    await console.write(b"x")
    await reads(console, b"x")
    await pair.there.driver.forget(spec.uuid)
    await pair.send(spec, await pair.receive(spec))
    assert (await pair.there.driver.resume(spec.uuid)).state is GuestState.RUNNING


async def test_a_guest_that_was_sent_is_dropped_and_what_waits_and_none_that_runs(
    pair: Pair, world: World
) -> None:
    spec = await up(pair, world)
    await pair.here.driver.drop(spec.uuid)
    await pair.receive(spec)
    await pair.there.driver.drop(spec.uuid)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)
    await pair.send(spec, await pair.receive(spec))
    await pair.here.driver.drop(spec.uuid)
    await pair.here.driver.drop(spec.uuid)
    await pair.there.driver.resume(spec.uuid)
    await pair.there.driver.drop(spec.uuid)
    assert pair.states(spec.uuid) == (GuestState.STOPPED, GuestState.RUNNING)


async def test_a_stranger_brings_nothing(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    ports = await pair.receive(spec)
    with contextlib.suppress(OperationFailed):  # what he sent may look as if it had come
        await pair.send(spec, ports, own=STRANGER)
    with pytest.raises(Rejected):
        await pair.there.driver.resume(spec.uuid)
    await pair.here.driver.take_back(spec.uuid)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)


async def test_a_stranger_is_sent_nothing(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    ports = await pair.receive(spec)
    with pytest.raises(OperationFailed):
        await pair.send(spec, ports, peer=STRANGER)
    here, there = pair.states(spec.uuid)
    assert here is GuestState.RUNNING
    # QEMU may take the call that broke off for the guest that it waits for, and gives up then.
    assert there in (GuestState.PAUSED, GuestState.DIED)


async def test_where_nobody_waits_it_goes_on_here(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    ports = await pair.receive(spec)
    await pair.there.driver.stop(spec.uuid, timeout=0, force=True)
    with pytest.raises(OperationFailed):
        await pair.send(spec, ports)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)


async def test_what_waits_runs_nothing_and_is_ended_like_a_guest(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    await pair.receive(spec)
    with pytest.raises(Rejected):
        await pair.there.driver.start(spec)
    # In order: it has no guest yet that could be asked, and must not get one.
    await pair.there.driver.stop(spec.uuid, timeout=5)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)
    with pytest.raises(Rejected):
        await pair.there.driver.resume(spec.uuid)


async def test_a_guest_that_was_sent_is_not_run_by_a_shutdown(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    await pair.send(spec, await pair.receive(spec))
    await pair.here.driver.stop(spec.uuid, timeout=5)
    await pair.there.driver.stop(spec.uuid, timeout=5)
    states = [guest.state for node in (pair.here, pair.there) for guest in node.told[1:]]
    assert GuestState.RUNNING not in states


async def test_half_of_a_guest_is_not_run(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    await pair.receive(spec)
    with pytest.raises(Rejected):
        await pair.there.driver.resume(spec.uuid)
    assert pair.states(spec.uuid) == (GuestState.RUNNING, GuestState.STOPPED)


async def test_one_that_is_up_there_or_runs_otherwise_is_not_received(
    pair: Pair, world: World
) -> None:
    spec = await up(pair, world)
    described = await pair.here.driver.describe(spec.uuid)
    link = pair.link(THERE, HERE, calls=False)
    with pytest.raises(Rejected):
        await pair.there.driver.receive(described.spec, "abacus", link, ())
    await pair.here.driver.stop(spec.uuid, timeout=0, force=True)
    await pair.there.driver.start(spec)
    with pytest.raises(Rejected):
        await pair.there.driver.receive(described.spec, described.accelerator, link, ())
    with pytest.raises(Rejected):
        await pair.here.driver.describe(spec.uuid)


async def test_agents_that_are_restarted_meanwhile_know_what_goes_on(
    pair: Pair, world: World
) -> None:
    spec = await up(pair, world)
    ports = await pair.receive(spec)
    await pair.here.reopen()
    await pair.send(spec, ports)
    await pair.here.reopen()
    assert pair.here.guest(spec.uuid).state is GuestState.PAUSED
    await pair.send(spec, ports)  # it has been sent
    await pair.there.reopen()
    assert pair.there.guest(spec.uuid).state is GuestState.PAUSED
    assert (await pair.there.driver.resume(spec.uuid)).state is GuestState.RUNNING
    await pair.there.reopen()
    assert pair.states(spec.uuid) == (GuestState.PAUSED, GuestState.RUNNING)


async def test_one_that_died_after_it_ran_is_not_said_never_to_have_run(
    pair: Pair, world: World
) -> None:
    """Who believed that would let it go on where its memory is older than its disks."""
    spec = await up(pair, world)
    await pair.send(spec, await pair.receive(spec))
    guest = await pair.there.driver.resume(spec.uuid)
    await world.sibling().crash(pair.there, guest)
    await pair.there.until(spec.uuid, GuestState.DIED)
    with pytest.raises(GantryError) as caught:
        await pair.there.driver.resume(spec.uuid)
    assert not isinstance(caught.value, Rejected)


async def test_one_that_died_before_it_ran_is_said_never_to_have_run(
    pair: Pair, world: World
) -> None:
    spec = await up(pair, world)
    await pair.send(spec, await pair.receive(spec))
    await world.sibling().crash(pair.there, pair.there.guest(spec.uuid))
    await pair.there.until(spec.uuid, GuestState.DIED)
    with pytest.raises(Rejected):
        await pair.there.driver.resume(spec.uuid)
    await pair.here.driver.take_back(spec.uuid)
    assert pair.here.guest(spec.uuid).state is GuestState.RUNNING


async def test_a_description_pins_what_was_not_pinned(pair: Pair, world: World) -> None:
    spec = await up(pair, world)
    described = await pair.here.driver.describe(spec.uuid)
    assert msgspec.structs.replace(described.spec, machine="", cpu_model="") == spec
