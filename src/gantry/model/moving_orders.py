"""Orders by which a running guest comes to another node. See docs/adr/0014-moving-guests.md.

The target receives (a hypervisor that waits, and runs nothing), the source sends and holds the
guest still once all has been sent, the target resumes. Sizes are MiB, times seconds.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from gantry.model import timeouts
from gantry.model.asking import Nothing, Order
from gantry.model.backup_orders import Peer
from gantry.model.live import GuestLive
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec, GuestSpec


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What a running guest is: what it was started with, with machine and CPU as they are.

    ``accelerator`` executes its instructions; it cannot change while the guest runs.
    """

    spec: GuestSpec
    accelerator: str = ""


class GuestDescribe(Order[Described], frozen=True, kw_only=True, tag="guest-describe"):
    """Say what the running guest is; Rejected where it is not running."""

    answer: ClassVar[type[msgspec.Struct]] = Described
    uuid: Uuid
    hypervisor: str


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where the target listens: for the guest's memory, and for its local disks (0: for none)."""

    memory: int
    disks: int = 0


class GuestReceive(Order[Ports], frozen=True, kw_only=True, tag="guest-receive"):
    """Wait for a guest from ``peer`` alone, at the address ``host``. It runs nothing.

    ``disks`` are the indexes of disks that ``peer`` will write, which are there and empty. One
    that waits already is left as it is.
    """

    answer: ClassVar[type[msgspec.Struct]] = Ports
    spec: GuestSpec
    accelerator: str
    peer: Peer
    host: str
    disks: tuple[int, ...] = ()


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """``whole``: (disk, node) of the replicas that are the same as the guest's mirrored disks."""

    whole: tuple[tuple[Uuid, Uuid], ...] = ()


class GuestSend(Order[Sent], frozen=True, kw_only=True, tag="guest-send"):
    """Send the running guest to ``peer``. It is held still when all has been sent.

    Where it cannot be sent, or is cancelled, the guest goes on here. What an earlier agent began
    is gone on with. ``live``: it runs meanwhile. ``downtime`` (ms) is what it may be held up
    at the end, ``bandwidth`` (MiB/s, 0: no limit) what it may take, ``lasts`` (s) how long.
    ``mirrored``: its disks are, and ``peer`` has replicas that must be in sync. They are no
    longer mirrored when it has been sent, and again when it goes on here.
    """

    answer: ClassVar[type[msgspec.Struct]] = Sent
    patience: ClassVar[float] = timeouts.AGENT_AWAY
    uuid: Uuid
    hypervisor: str
    peer: Peer
    ports: Ports
    disks: tuple[int, ...] = ()
    live: bool = True
    downtime: int = 100
    bandwidth: int = 0
    lasts: float = 3600.0
    mirrored: bool = False


class GuestResume(Order[GuestLive], frozen=True, kw_only=True, tag="guest-resume"):
    """The guest that was received runs from now on. Rejected: it has not been received whole.

    ``disks``: all of its disks with their targets, where they are mirrored. Their replicas here
    are served to nobody any more, take the disks' generation, and are mirrored before its first
    instruction. Where a target cannot be had the guest stands still until that is released.
    """

    answer: ClassVar[type[msgspec.Struct]] = GuestLive
    patience: ClassVar[float] = timeouts.AGENT_AWAY
    uuid: Uuid
    hypervisor: str
    disks: tuple[DiskSpec, ...] = ()


class GuestTakeBack(Order[Nothing], frozen=True, kw_only=True, tag="guest-take-back"):
    """The guest that is being sent, or was sent, goes on here; one that is gone stays so.

    Only where it certainly never ran elsewhere: its memory is what it was then.
    """

    uuid: Uuid
    hypervisor: str


class GuestDrop(Order[Nothing], frozen=True, kw_only=True, tag="guest-drop"):
    """End the guest that was sent and is held still, or what waits for one; one that runs stays.

    So it can come late: it is never a guest that somebody has started since. ``forget``: drop
    what the node keeps of it as well, unless it runs.
    """

    uuid: Uuid
    hypervisor: str
    forget: bool = False


MovingOrder: TypeAlias = (
    GuestDescribe | GuestReceive | GuestSend | GuestResume | GuestTakeBack | GuestDrop
)
