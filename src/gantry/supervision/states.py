"""The live states of all nodes: what came last from each agent, by event or by answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec

from gantry.model import timeouts
from gantry.model.bundles import os_name
from gantry.model.errors import GantryError
from gantry.model.live import UNKNOWN, GuestLive, GuestState, NodeFacts, NodeLive, OsFacts
from gantry.model.moving_orders import GuestResume
from gantry.model.names import Uuid
from gantry.model.orders import (
    BundleInstall,
    BundleRestore,
    GuestForget,
    GuestStart,
    GuestStop,
    HooksRun,
    Order,
    OsDiagnose,
    PowerRun,
)
from gantry.model.power import PowerCommand
from gantry.ports.agents import Address, Agents, Envelope, Progress
from gantry.ports.clock import Clock
from gantry.ports.passing import PassingAgents
from gantry.supervision.hook_points import HookPoints, observed

A = TypeVar("A", bound=msgspec.Struct)


class LiveHolder(Protocol):
    """Where the snapshot's live part is kept."""

    @property
    def nodes(self) -> dict[Uuid, NodeLive]:
        """What is known now."""

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        """``live`` is what is true on ``node`` from now on."""

    def forget(self, node: Uuid) -> None:
        """The node is not of the cluster any more."""


class States:
    """Changes to the live states, each made of the last one."""

    def __init__(self, holder: LiveHolder, clock: Clock) -> None:
        self._holder = holder
        self._clock = clock

    def of(self, node: Uuid) -> NodeLive:
        """What is known of a node."""
        return self._holder.nodes.get(node, UNKNOWN)

    def hello(self, node: Uuid, facts: NodeFacts, guests: Iterable[GuestLive]) -> None:
        """The agent is there and said everything."""
        before = self.of(node)
        since = before.since if before.reachable else self._clock.now()
        self._holder.set_live(
            node,
            NodeLive(
                reachable=True,
                since=since,
                facts=facts,
                guests={guest.uuid: guest for guest in guests},
            ),
        )

    def facts(self, node: Uuid, facts: NodeFacts) -> None:
        """The node's facts changed."""
        self._holder.set_live(node, msgspec.structs.replace(self.of(node), facts=facts))

    def oses(self, node: Uuid, oses: tuple[OsFacts, ...]) -> None:
        """The node was asked for its OS definitions: what it said counts from now on."""
        live = self.of(node)
        if live.facts is not None and live.facts.oses != oses:
            self.facts(node, msgspec.structs.replace(live.facts, oses=oses))

    def bundle(self, node: Uuid, target: str, sha256: str) -> None:
        """The node was given that bundle."""
        live = self.of(node)
        if live.facts is not None and live.facts.bundles.get(target, "") != sha256:
            there = {**live.facts.bundles, target: sha256}
            self.facts(node, msgspec.structs.replace(live.facts, bundles=there))

    def guest(self, node: Uuid, guest: GuestLive, forgotten: bool = False) -> None:
        """One guest changed; a word older than what is known does not count."""
        live = self.of(node)
        known = live.guests.get(guest.uuid)
        if known is not None and not forgotten and _older(guest, known):
            return
        guests = dict(live.guests)
        if forgotten:
            guests.pop(guest.uuid, None)
        else:
            guests[guest.uuid] = guest
        self._holder.set_live(node, msgspec.structs.replace(live, guests=guests))

    def lost(self, node: Uuid, problem: str) -> None:
        """The agent has not been heard of for too long: what its guests do is not known."""
        live = self.of(node)
        if not live.reachable and live.problem == problem:
            return
        since = self._clock.now() if live.reachable else live.since
        self._holder.set_live(
            node, msgspec.structs.replace(live, reachable=False, since=since, problem=problem)
        )

    def forget(self, node: Uuid) -> None:
        """The node is not of the cluster any more."""
        self._holder.forget(node)

    def stopped(self, node: Uuid, uuid: Uuid) -> None:
        """Our order to stop a guest was carried out."""
        guest = self.of(node).guests.get(uuid)
        if guest is not None and guest.up:
            # The time stays the node's own: this clock may be ahead of it, and then the next
            # start would look older than this stop.
            self.guest(node, msgspec.structs.replace(guest, state=GuestState.STOPPED, pid=0))


def _older(word: GuestLive, known: GuestLive) -> bool:
    """Of the same moment, the end is the later word: it took its time from the start."""
    if word.since == known.since:
        return word.up and not known.up
    return word.since < known.since


class ObservingAgents(PassingAgents):
    """Agents whose answers show in the live states at once, before the event about them comes.

    Otherwise a listing right after a start could still say that the guest is down.
    """

    def __init__(self, agents: Agents, states: States, points: HookPoints | None = None) -> None:
        super().__init__(agents)
        self._states = states
        self._points = points

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """As the agents do it."""
        ordered = super().order(to, envelope, order, progress)
        if isinstance(order, HooksRun) and self._points is not None:
            return await observed(self._points, to.name, order, ordered)
        answer = await ordered
        match order:
            case GuestStart() | GuestResume() if isinstance(answer, GuestLive):
                self._states.guest(to.node, answer)
            case GuestForget() | GuestStop(forget=True):
                gone = GuestLive(uuid=order.uuid, name="", state=GuestState.STOPPED)
                self._states.guest(to.node, gone, forgotten=True)
            case GuestStop():
                self._states.stopped(to.node, order.uuid)
            case PowerRun() if order.command is PowerCommand.OFF:
                # It is certain, and its event stream would go on being waited for.
                self._states.lost(order.node, "it was powered off")
            case BundleInstall() | BundleRestore():
                self._states.bundle(to.node, order.target, order.sha256)
                if os_name(order.target):
                    await self._look_at_oses(to)
            case _:
                pass
        return answer

    async def _look_at_oses(self, to: Address) -> None:
        """What was pushed can be used at once; a node that does not answer says it later."""
        with contextlib.suppress(GantryError):
            found = await self._agents.ask(to, OsDiagnose(), timeouts.FAST)
            self._states.oses(to.node, found.oses)
