"""Orders and questions about replicas of mirrored disks. See docs/adr/0015-mirror.md.

Sizes are MiB, times seconds; ``done`` and ``total`` of a mirror are bytes.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from gantry.model.asking import Nothing, Order, Question
from gantry.model.backup_orders import Peer
from gantry.model.entities import ReplicaState
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec, MirrorTarget


class ReplicaServed(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica is served: ``port`` on the address that was ordered."""

    port: int


class ReplicaServe(Order[ReplicaServed], frozen=True, kw_only=True, tag="replica-serve"):
    """Serve this node's replica to ``peer`` alone, at the address ``host``.

    It goes on until ``ReplicaClose``, also when the agent is restarted; the daemon is started
    again where it ends by itself. One that is served to that peer already stays as it is. Its
    record must be of this disk and generation, and the file must be as it was left; else
    Rejected, with what is wrong. ``overwrite``: whatever it was, all of it will be copied anew:
    its record then becomes this generation, syncing; it is made where it is not there.

    Where that was prepared for this peer and generation, whoever it was served to before is cut
    off, and it is served at the port that was given then.
    """

    answer: ClassVar[type[msgspec.Struct]] = ReplicaServed
    disk: DiskSpec
    peer: Peer
    host: str
    overwrite: bool = False


class ReplicaPrepared(msgspec.Struct, frozen=True, kw_only=True):
    """``port``: where it will be served. ``content``: the word for what is there then."""

    port: int
    content: str


class ReplicaPrepare(Order[ReplicaPrepared], frozen=True, kw_only=True, tag="replica-prepare"):
    """Make ready to serve this node's replica to ``peer`` in a generation that is to come.

    A daemon waits: nothing is served before ``ReplicaServe`` of that generation. Until then it
    is written, here or by another node, as it was. From now on its record fits both generations,
    the disk's and the one before: which it is, the store says. Rejected where it must not be
    used.
    """

    answer: ClassVar[type[msgspec.Struct]] = ReplicaPrepared
    disk: DiskSpec
    peer: Peer
    host: str


class ReplicaForgo(Order[Nothing], frozen=True, kw_only=True, tag="replica-forgo"):
    """What ``ReplicaPrepare`` of that generation made is gone, unless it is served by now."""

    disk: DiskSpec


class ReplicaClose(Order[Nothing], frozen=True, kw_only=True, tag="replica-close"):
    """Nobody's write reaches this node's replica any more; its daemon is gone."""

    disk: DiskSpec


class ReplicaMark(Order[Nothing], frozen=True, kw_only=True, tag="replica-mark"):
    """The replica's own record becomes this state, at the disk's generation.

    ``generation``: the one that its record must have now. Rejected for another disk's or
    another generation's, but where it is marked so already. ``force`` takes any record.
    """

    disk: DiskSpec
    generation: int
    state: ReplicaState
    force: bool = False


class ReplicaReserve(Order[Nothing], frozen=True, kw_only=True, tag="replica-reserve"):
    """There is room for ``size`` on this node, and what is there stays as it is.

    Of what is as large already nothing more is kept than it has. OperationFailed: no room.
    """

    disk: DiskSpec
    size: int


class ReplicaGrow(Order[Nothing], frozen=True, kw_only=True, tag="replica-grow"):
    """This node's replica has the disk's size, which is in the store by now.

    One that is served stays so, at the same port. What a guest here has open itself is made
    larger by ``DiskGrow``.
    """

    disk: DiskSpec


class MirrorAttach(Order[Nothing], frozen=True, kw_only=True, tag="mirror-attach"):
    """Mirror a disk of a guest that is up to one more target, from now on.

    ``target.full`` says whether all of it has to be copied. It does not wait for the copy.
    One that is attached to that node already stays.
    """

    guest: Uuid
    hypervisor: str
    index: int
    target: MirrorTarget


class MirrorRelease(Order[Nothing], frozen=True, kw_only=True, tag="mirror-release"):
    """Mirror no longer to ``node``, and let the writes go on that wait for it.

    Only after the store has the replica as stale, or removed. Nothing where the guest is not up.
    ``forget``: it is no replica any more; what it lacks need not be known.
    """

    guest: Uuid
    hypervisor: str
    index: int
    node: Uuid
    forget: bool = False


class MirrorWait(Order[Nothing], frozen=True, kw_only=True, tag="mirror-wait"):
    """Until all of a disk that is mirrored to ``node`` is there; how far it is, is said.

    OperationFailed where nothing is mirrored there any more.
    """

    guest: Uuid
    hypervisor: str
    disk: Uuid
    node: Uuid


class DisksActivate(Order[Nothing], frozen=True, kw_only=True, tag="disks-activate"):
    """Open the disks of an instance that is not up, and mirror them, by a storage daemon.

    What it says of its mirrors comes like a guest's. It goes on until ``DisksDeactivate``, or
    the guest's start, which ends it first.
    """

    guest: Uuid
    name: str
    disks: tuple[DiskSpec, ...]


class DisksDeactivate(Order[Nothing], frozen=True, kw_only=True, tag="disks-deactivate"):
    """Close them again, in order."""

    guest: Uuid


class ReplicaSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as its node finds it. ``clean``: closed in order since it was last opened.

    ``problem`` says, in words, why it must not be used: foreign, of another disk, damaged.
    ``serving``: the node's uuid that it is served to.
    """

    disk: Uuid
    there: bool
    generation: int = 0
    state: ReplicaState = ReplicaState.STALE
    clean: bool = False
    serving: Uuid | None = None
    problem: str = ""


class ReplicasSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Of all that was asked about, in that order."""

    replicas: tuple[ReplicaSeen, ...]


class ReadReplicas(Question[ReplicasSeen], frozen=True, kw_only=True, tag="replicas"):
    """What the node has of these disks."""

    answer: ClassVar[type[msgspec.Struct]] = ReplicasSeen
    disks: tuple[DiskSpec, ...]


class ReplicasLook(Order[ReplicasSeen], frozen=True, kw_only=True, tag="replicas-look"):
    """The same between the effects of a job: what an orderly stop has left."""

    answer: ClassVar[type[msgspec.Struct]] = ReplicasSeen
    disks: tuple[DiskSpec, ...]


ReplicaOrder: TypeAlias = (
    ReplicaServe
    | ReplicaPrepare
    | ReplicaForgo
    | ReplicaClose
    | ReplicaMark
    | ReplicaReserve
    | ReplicaGrow
    | MirrorAttach
    | MirrorRelease
    | DisksActivate
    | DisksDeactivate
    | ReplicasLook
    | MirrorWait
)
ReplicaQuestion: TypeAlias = ReadReplicas
