"""What is known of nodes and guests, out of events and answers in any order."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tests.fakes.agents import FakeAgents, Fault
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import entities, instance, instance_uuid, node_uuid
from tests.fakes.world import NOOP, FakeNode, World
from tests.faults.situations import DEFINITION, VERSIONS

from gantry.model.entities import Cluster
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestLive, GuestState, NodeFacts, NodeLive, OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import (
    BundleInstall,
    BundleRestore,
    GuestForget,
    GuestStart,
    GuestStop,
    Order,
)
from gantry.operations.steps import specs
from gantry.ports.agents import Envelope
from gantry.supervision.states import ObservingAgents, States

NODE = node_uuid(1)
GUEST = instance_uuid(1)


class Holder:
    """Keeps the live states."""

    def __init__(self) -> None:
        self.nodes: dict[Uuid, NodeLive] = {}

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        self.nodes[node] = live

    def forget(self, node: Uuid) -> None:
        self.nodes.pop(node, None)


def guest(state: GuestState, since: float) -> GuestLive:
    return GuestLive(uuid=GUEST, name="web1.example.com", state=state, since=since, memory=128)


@pytest.fixture
def states() -> States:
    made = States(Holder(), FakeClock())
    made.hello(NODE, NodeFacts(memory_total=1000), [guest(GuestState.RUNNING, 100)])
    return made


def state_of(states: States) -> GuestState | None:
    known = states.of(NODE).guests.get(GUEST)
    return known.state if known else None


def test_a_node_that_never_spoke_is_not_reachable() -> None:
    live = States(Holder(), FakeClock()).of(NODE)
    assert not live.reachable
    assert live.facts is None


def test_an_older_word_does_not_count(states: States) -> None:
    states.guest(NODE, guest(GuestState.DIED, 99))
    assert state_of(states) is GuestState.RUNNING


def test_a_later_word_counts(states: States) -> None:
    states.guest(NODE, guest(GuestState.DIED, 101))
    assert state_of(states) is GuestState.DIED


def test_a_stop_is_not_taken_back_by_the_late_event_of_the_start(states: States) -> None:
    states.stopped(NODE, GUEST)
    states.guest(NODE, guest(GuestState.RUNNING, 100))
    assert state_of(states) is GuestState.STOPPED


def test_a_start_counts_though_the_node_is_behind_the_masters_clock(states: States) -> None:
    # The master's clock is years ahead of the node's here.
    states.stopped(NODE, GUEST)
    states.guest(NODE, guest(GuestState.RUNNING, 102))
    assert state_of(states) is GuestState.RUNNING


def test_a_stop_of_what_is_down_keeps_the_reason(states: States) -> None:
    states.guest(NODE, guest(GuestState.SHUT_DOWN, 101))
    states.stopped(NODE, GUEST)
    assert state_of(states) is GuestState.SHUT_DOWN


def test_a_forgotten_guest_is_gone_whatever_its_time(states: States) -> None:
    states.guest(NODE, guest(GuestState.STOPPED, 1), forgotten=True)
    assert state_of(states) is None


def test_a_lost_node_keeps_its_facts_and_guests(states: States) -> None:
    states.lost(NODE, "no route")
    live = states.of(NODE)
    assert (live.reachable, live.problem) == (False, "no route")
    assert live.facts == NodeFacts(memory_total=1000)
    assert GUEST in live.guests


def test_a_lost_node_is_lost_since_it_was_lost_and_not_since_the_last_attempt() -> None:
    clock = FakeClock()
    states = States(Holder(), clock)
    states.hello(NODE, NodeFacts(), [])
    states.lost(NODE, "no route")
    since = states.of(NODE).since
    clock.advance(100)
    states.lost(NODE, "refused")
    assert states.of(NODE).since == since
    assert states.of(NODE).problem == "refused"


def test_a_hello_replaces_everything_that_was_known(states: States) -> None:
    states.hello(NODE, NodeFacts(memory_total=2000), [])
    assert states.of(NODE).facts == NodeFacts(memory_total=2000)
    assert state_of(states) is None


def test_a_second_hello_keeps_the_time_since_when_the_node_is_there() -> None:
    clock = FakeClock()
    states = States(Holder(), clock)
    states.hello(NODE, NodeFacts(), [])
    since = states.of(NODE).since
    clock.advance(100)
    states.hello(NODE, NodeFacts(), [])
    assert states.of(NODE).since == since


def test_os_definitions_found_later_replace_those_of_the_facts(states: States) -> None:
    found = (OsFacts(name="noop", path="/srv/ganeti/os/noop"),)
    states.oses(NODE, found)
    facts = states.of(NODE).facts
    assert facts is not None
    assert facts.oses == found
    assert facts.memory_total == 1000


def test_os_definitions_of_a_node_without_facts_are_not_kept() -> None:
    states = States(Holder(), FakeClock())
    states.oses(NODE, (OsFacts(name="noop", path="/srv/ganeti/os/noop"),))
    assert states.of(NODE).facts is None


class Observed:
    """Orders to one node, and what is known of it without any event."""

    def __init__(self) -> None:
        world = World()
        self.node = world.add(FakeNode(NODE, "node1.example.com"))
        self.plain = FakeAgents(world)
        self.states = States(Holder(), FakeClock())
        self.states.hello(NODE, self.node.facts(), [])
        self.agents = ObservingAgents(self.plain, self.states)
        self._number = 0
        [settings] = [one for one in entities() if isinstance(one, Cluster)]
        self.spec = specs.guest(settings, instance(1))

    async def order(self, order: Order[Any]) -> None:
        self._number += 1
        envelope = Envelope(key=f"job/{self._number}", job=1, epoch=1, until=math.inf, timeout=10)
        await self.agents.order(self.plain.address(self.node), envelope, order)

    def up(self) -> bool | None:
        known = self.states.of(NODE).guests.get(GUEST)
        return None if known is None else known.up


async def test_a_start_shows_with_its_answer() -> None:
    one = Observed()
    await one.order(GuestStart(spec=one.spec))
    assert one.up() is True


async def test_a_stop_shows_with_its_answer_and_so_does_the_next_start() -> None:
    one = Observed()
    await one.order(GuestStart(spec=one.spec))
    await one.order(GuestStop(uuid=GUEST, hypervisor=one.spec.hypervisor, timeout=1))
    assert one.up() is False
    await one.order(GuestStart(spec=one.spec))
    assert one.up() is True


async def test_a_forgotten_guest_goes_with_the_answer() -> None:
    one = Observed()
    await one.order(GuestStart(spec=one.spec))
    await one.order(GuestStop(uuid=GUEST, hypervisor=one.spec.hypervisor, timeout=1))
    await one.order(GuestForget(uuid=GUEST, hypervisor=one.spec.hypervisor))
    assert one.up() is None


async def test_a_guest_that_is_stopped_for_ever_goes_with_the_answer() -> None:
    one = Observed()
    await one.order(GuestStart(spec=one.spec))
    hypervisor = one.spec.hypervisor
    await one.order(GuestStop(uuid=GUEST, hypervisor=hypervisor, timeout=1, forget=True))
    assert one.up() is None


async def test_an_order_that_fails_changes_nothing_that_is_known() -> None:
    one = Observed()
    await one.order(GuestStart(spec=one.spec))
    one.plain.faults[1] = Fault.FAILS
    with pytest.raises(OperationFailed):
        await one.order(GuestStop(uuid=GUEST, hypervisor=one.spec.hypervisor, timeout=1))
    assert one.up() is True


async def test_a_pushed_definition_shows_with_its_answer() -> None:
    one = Observed()
    [version, _] = VERSIONS
    pushed = msgspec.structs.replace(NOOP, name="mine")
    one.node.oses = (NOOP, pushed)  # as the node finds it once it is there
    order = BundleInstall(target=DEFINITION, sha256=version.sha256, packed=version.packed)
    await one.order(order)
    facts = one.states.of(NODE).facts
    assert facts is not None
    assert (facts.bundles, facts.oses) == ({DEFINITION: version.sha256}, (NOOP, pushed))
    await one.order(BundleRestore(target=DEFINITION, undoing=version.sha256))
    facts = one.states.of(NODE).facts
    assert facts is not None
    assert facts.bundles[DEFINITION] == ""
