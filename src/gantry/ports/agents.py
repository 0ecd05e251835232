"""The master's view of the node agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import msgspec

from gantry.model.live import GuestLive, NodeFacts
from gantry.model.names import Uuid
from gantry.model.orders import Order, Question

A = TypeVar("A", bound=msgspec.Struct)


class Address(msgspec.Struct, frozen=True):
    """Where a node's agent answers, and who must answer there."""

    node: Uuid
    name: str
    host: str
    port: int


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What travels with an order.

    ``key`` is the job's random id and the effect's name: the same key is the same effect, for
    ever. ``epoch`` is the master's. ``until`` is the moment until which the order may begin:
    here on the master's clock (``Clock.monotonic``); on the wire on the agent's, whose random
    name is ``clock``. ``timeout`` is how many seconds the order may take. ``secrets`` (secret
    OS parameters) are never kept anywhere.
    """

    key: str
    job: int
    epoch: int
    until: float
    timeout: float
    clock: str = ""
    secrets: dict[str, str] = {}


class Moment(msgspec.Struct, frozen=True):
    """When an agent said something: seconds on its clock, which has a random name.

    The clock begins anew with each agent process, and also runs while the machine is suspended.
    """

    clock: str
    seconds: float


class Progress(msgspec.Struct, frozen=True):
    """A line for the job's log while an order is carried out."""

    text: str


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First on an event stream: everything that the agent knows."""

    facts: NodeFacts
    guests: tuple[GuestLive, ...]
    moment: Moment | None = None


class GuestChanged(msgspec.Struct, frozen=True, kw_only=True, tag="guest"):
    """A guest started, ended or changed; ``forgotten`` when the node keeps nothing of it."""

    guest: GuestLive
    forgotten: bool = False


class FactsChanged(msgspec.Struct, frozen=True, kw_only=True, tag="facts"):
    """The node's facts, when they changed enough to matter."""

    facts: NodeFacts


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Nothing happened, and the agent is alive."""

    moment: Moment | None = None


Event: TypeAlias = Hello | GuestChanged | FactsChanged | Heartbeat


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says to a new master: what is there, and the highest epoch it had seen.

    ``node`` is where the master of that epoch ran; None where no master was heard of, or an
    earlier version did not say. ``job`` is the highest number of a job that it had an order of.
    """

    epoch: int
    guests: tuple[GuestLive, ...]
    moment: Moment
    node: Uuid | None = None
    job: int = 0


class Agents(Protocol):
    """Every method raises ``Unavailable`` where the agent does not answer.

    An agent's own error comes back as the GantryError that it was, with the node's name in it.
    """

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """Carry out an order, or attach to it where its key is running or done.

        An agent that this master has not announced itself to, or that was restarted since, is
        announced to first. TooLate where the order came after its time: it was not begun.
        """

    async def ask(self, to: Address, question: Question[A], timeout: float) -> A:
        """Ask something that changes nothing."""

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        """End what runs under ``key``; the order then fails as cancelled."""

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None:
        """Jobs are over: the agent may forget all keys that begin with one of ``prefixes``."""

    async def announce(self, to: Address, epoch: int) -> Announced:
        """Tell the agent of a new master; it refuses lower epochs from now on, durably.

        Superseded where it has seen a higher epoch, or this one from another node's master.
        Event streams end where the epoch is a new one: an older master thus hears of it.
        """

    def events(self, of: Address) -> AsyncIterator[Event]:
        """The agent's events, beginning with Hello; ends with ``Unavailable``."""


class ConsoleStream(Protocol):
    """A guest's serial console, attached."""

    def output(self) -> AsyncIterator[bytes]:
        """What the guest writes; ends when the console does."""

    async def write(self, data: bytes) -> None:
        """Type into it; Unavailable where it is closed."""

    async def close(self) -> None:
        """Detach."""


class Consoles(Protocol):
    """Attaching to consoles, for the API, which passes the bytes on."""

    async def console(self, to: Address, uuid: Uuid) -> ConsoleStream:
        """Attach to a running guest's console; Rejected where it has none, or Unavailable."""
