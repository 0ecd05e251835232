"""What is true right now on a node, as its agent says it: never stored, always in memory."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from gantry.model.names import Uuid


class GuestState(enum.StrEnum):
    """What a guest is doing."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    """Ended by our order."""
    SHUT_DOWN = "shut-down"
    """The guest powered itself off."""
    DIED = "died"
    """The guest's process ended without being asked to."""


class MirrorPhase(enum.StrEnum):
    """What the mirroring of a disk to one node is doing."""

    COPYING = "copying"
    READY = "ready"
    """Every write is on both sides before it is acknowledged."""
    LOST = "lost"
    """The other side does not answer: writes wait, until it is released."""


class MirrorLive(msgspec.Struct, frozen=True, kw_only=True):
    """The mirroring of one disk to one node; ``done`` and ``total`` are bytes of a copy.

    ``released``: the agent has let writes go on by itself (``on_degraded=continue``).
    """

    disk: Uuid
    node: Uuid
    phase: MirrorPhase
    done: int = 0
    total: int = 0
    released: bool = False
    reason: str = ""


class GuestLive(msgspec.Struct, frozen=True, kw_only=True):
    """One guest as an agent sees it. ``memory`` is MiB, ``since`` is seconds since 1970."""

    uuid: Uuid
    name: str
    state: GuestState
    since: float = 0.0
    memory: int = 0
    vcpus: int = 0
    pid: int = 0
    reason: str = ""
    mirrors: tuple[MirrorLive, ...] = ()

    @property
    def up(self) -> bool:
        """Whether it holds memory and could write to its disks."""
        return self.state in (GuestState.RUNNING, GuestState.PAUSED)


class HypervisorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one hypervisor offers on a node. ``why`` explains the accelerator or the absence."""

    available: bool
    why: str = ""
    version: str = ""
    accelerator: str = ""
    machine: str = ""
    """The versioned machine type that new instances are pinned to."""
    cpu_model: str = ""


class OsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One OS definition on one node. ``problem`` is empty when it is valid.

    ``parameters`` are (name, description) pairs; ``digest`` is a hash over its files, for
    telling nodes apart; ``files`` maps each file's name to its own hash.
    """

    name: str
    path: str
    problem: str = ""
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    api_versions: tuple[int, ...] = ()
    trusted: bool = True
    digest: str = ""
    files: dict[str, str] = {}

    @property
    def valid(self) -> bool:
        """Whether it can be used."""
        return not self.problem


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A node's resources (MiB) and offers."""

    boot_id: str = ""
    memory_total: int = 0
    memory_free: int = 0
    memory_node: int = 0
    """What the node itself uses."""
    disk_total: int = 0
    disk_free: int = 0
    cpus: int = 0
    cpu_sockets: int = 1
    hypervisors: dict[str, HypervisorFacts] = {}
    oses: tuple[OsFacts, ...] = ()
    bridges: tuple[str, ...] = ()
    version: str = ""
    clock: float = 0.0
    certificate_expires: float = 0.0
    problems: tuple[str, ...] = ()
    """What its agent has against itself, in words for an operator."""
    bundles: dict[str, str] = {}
    """The hash of its bundle of each target (see ``gantry.model.bundles``) that it has one of."""
    root: str = "/"
    """The node's root directory: all of Gantry's paths there hang below it."""


class NodeLive(msgspec.Struct, frozen=True, kw_only=True):
    """The master's view of one node. ``since`` is when ``reachable`` last changed."""

    reachable: bool
    since: float = 0.0
    facts: NodeFacts | None = None
    guests: Mapping[Uuid, GuestLive] = {}
    problem: str = ""


UNKNOWN: Final = NodeLive(reachable=False, problem="not heard from yet")
