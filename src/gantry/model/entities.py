"""What the store keeps: cluster, groups, nodes, instances.

Values only. A change makes a new value with ``msgspec.structs.replace``. Sizes are MiB,
times are seconds since 1970. ``serial_no`` counts the changes of an object.
"""

from __future__ import annotations

import enum
from typing import Any, Final, TypeAlias

import msgspec

from gantry.model.bundles import HOOKS, BundleEntry
from gantry.model.names import Uuid

ParameterValue: TypeAlias = str | int | float | bool | None
Parameters: TypeAlias = dict[str, ParameterValue]


class DiskTemplate(enum.StrEnum):
    """How an instance's disks are kept."""

    DISKLESS = "diskless"
    FILE = "file"
    SHAREDFILE = "sharedfile"
    MIRROR = "mirror"


class DiskFormat(enum.StrEnum):
    """The format of a disk's file."""

    RAW = "raw"
    QCOW2 = "qcow2"


class DiskMode(enum.StrEnum):
    """Whether the guest may write to a disk."""

    READ_WRITE = "rw"
    READ_ONLY = "ro"


class ReplicaState(enum.StrEnum):
    """What a copy of a mirrored disk is (docs/adr/0015-mirror.md)."""

    IN_SYNC = "in-sync"
    """Every write that the guest saw acknowledged is on it."""
    SYNCING = "syncing"
    STALE = "stale"


class OnDegraded(enum.StrEnum):
    """What the guest's writes do when a replica is lost and the master does not answer."""

    WAIT = "wait"
    CONTINUE = "continue"
    """Go on: a later failover to that replica may then lose them."""


class AdminState(enum.StrEnum):
    """What the operator wants an instance to be."""

    UP = "up"
    DOWN = "down"
    OFFLINE = "offline"


class NicMode(enum.StrEnum):
    """How a NIC is connected. ``user`` is QEMU's own, and needs no rights on the host."""

    BRIDGED = "bridged"
    ROUTED = "routed"
    OPENVSWITCH = "openvswitch"
    USER = "user"


class HypervisorName(enum.StrEnum):
    """The hypervisors that this version drives."""

    KVM = "kvm"
    FAKE = "fake"


class AllocPolicy(enum.StrEnum):
    """Whether new instances may be placed on a group's nodes."""

    PREFERRED = "preferred"
    LAST_RESORT = "last_resort"
    UNALLOCABLE = "unallocable"


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """What all objects have."""

    uuid: Uuid
    name: str
    ctime: float = 0.0
    mtime: float = 0.0
    serial_no: int = 1
    tags: tuple[str, ...] = ()


class Cluster(Entity, frozen=True, kw_only=True):
    """The cluster itself; one a store."""

    master_node: Uuid
    hooks_version: int = 1
    mac_prefix: str = "aa:00:00"
    enabled_hypervisors: tuple[HypervisorName, ...] = (HypervisorName.KVM,)
    enabled_disk_templates: tuple[DiskTemplate, ...] = (
        DiskTemplate.FILE,
        DiskTemplate.SHAREDFILE,
        DiskTemplate.DISKLESS,
        DiskTemplate.MIRROR,
    )
    hvparams: dict[str, Parameters] = {}
    beparams: Parameters = {}
    nicparams: Parameters = {}
    ndparams: Parameters = {}
    os_hvp: dict[str, dict[str, Parameters]] = {}
    osparams: dict[str, dict[str, str]] = {}
    osparams_private: dict[str, dict[str, str]] = {}
    hidden_os: tuple[str, ...] = ()
    blacklisted_os: tuple[str, ...] = ()
    candidate_pool_size: int = 10
    max_running_jobs: int = 20
    file_storage_dir: str = "/srv/ganeti/file-storage"
    shared_file_storage_dir: str = "/srv/ganeti/shared-file-storage"
    install_image: str = ""
    """What installation guests boot from: a path on the nodes, or a URL."""
    name_check: bool = True
    ip_check: bool = True
    api_port: int = 5080
    """Of the API, beside its socket, on the node that is the master."""
    maintain: bool = True
    """Whether guests that should be up and are down are started again."""
    master_lease: int = 5
    """Seconds without a word of the master after which another one takes over (etcd)."""
    failed_over_from: Uuid | None = None
    """Where the master was before another node took over by itself, until hooks have been told."""
    destroyed: bool = False
    """``gnt-cluster destroy`` was the last thing that happened to it."""


class Group(Entity, frozen=True, kw_only=True):
    """A group of nodes."""

    alloc_policy: AllocPolicy = AllocPolicy.PREFERRED
    ndparams: Parameters = {}


class Node(Entity, frozen=True, kw_only=True):
    """A machine of the cluster. ``port`` is its agent's, on ``primary_ip``."""

    primary_ip: str
    secondary_ip: str
    group: Uuid
    port: int = 1811
    master_candidate: bool = True
    offline: bool = False
    drained: bool = False
    master_capable: bool = True
    vm_capable: bool = True
    ndparams: Parameters = {}
    powered: bool = True
    """What is recorded of its power, where a program can switch it."""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of an instance; ``path`` is on the node (below the node's root)."""

    uuid: Uuid
    size: int
    template: DiskTemplate
    path: str
    name: str | None = None
    mode: DiskMode = DiskMode.READ_WRITE
    format: DiskFormat = DiskFormat.RAW
    driver: str = "loop"
    generation: int = 0
    """Of a mirrored disk: one more with each promotion of a replica."""
    on_degraded: OnDegraded = OnDegraded.WAIT
    resync_rate: int = 0
    """MiB a second that a copy to a replica takes at most; 0: as fast as it goes."""


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of a mirrored disk. ``number`` is its id within the disk, for operators."""

    number: int
    state: ReplicaState


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A network card of an instance. ``link`` is the bridge in mode bridged."""

    uuid: Uuid
    mac: str
    mode: NicMode
    link: str = ""
    vlan: str = ""
    ip: str | None = None
    name: str | None = None


class Instance(Entity, frozen=True, kw_only=True):
    """A virtual machine.

    ``hvparams``, ``beparams`` and ``osparams`` are only what was set on the instance itself;
    ``gantry.model.parameters`` fills in the levels below. ``machine`` and ``cpu_model`` are
    pinned when the instance is made, so that a newer QEMU shows the guest the same hardware.
    """

    primary_node: Uuid
    secondary_nodes: tuple[Uuid, ...] = ()
    os: str = ""
    hypervisor: HypervisorName = HypervisorName.KVM
    hvparams: Parameters = {}
    beparams: Parameters = {}
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    admin_state: AdminState = AdminState.DOWN
    admin_state_source: str = "admin"
    disk_template: DiskTemplate = DiskTemplate.DISKLESS
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    network_port: int | None = None
    machine: str = ""
    cpu_model: str = ""


class Mirror(Entity, frozen=True, kw_only=True):
    """The replicas of a mirrored disk, by node; ``uuid`` and ``name`` are the disk's uuid.

    That of the instance's primary node is among them.
    """

    instance: Uuid
    replicas: dict[Uuid, Replica]
    next_number: int


class Token(Entity, frozen=True, kw_only=True):
    """A node may join once with it; ``name`` is the node's. Only the secret's hash is kept."""

    secret_hash: str
    expires: float


class Joined(Entity, frozen=True, kw_only=True):
    """A machine that has joined and is not a node yet; ``uuid`` becomes the node's."""

    primary_ip: str
    port: int


class Bundle(Entity, frozen=True, kw_only=True):
    """A bundle that was pushed. ``packed`` are its files, ``files`` what they are.

    ``target`` is what it is of (see ``gantry.model.bundles``); numbers count within it.
    """

    number: int
    sha256: str
    packed: bytes
    files: tuple[BundleEntry, ...] = ()
    target: str = HOOKS


class Rollout(Entity, frozen=True, kw_only=True):
    """Which bundle of a target is to be where, by number: 0 is none. At most one a target."""

    target: str = HOOKS
    everywhere: int = 0
    nodes: dict[Uuid, int] = {}
    """Nodes that are to have another one."""
    earlier: tuple[int, ...] = ()
    """What was to be everywhere before, the last one last; not what was rolled back from."""
    nodes_earlier: dict[Uuid, tuple[int, ...]] = {}
    """The same of those nodes."""


class Webhook(Entity, frozen=True, kw_only=True):
    """A web server that is told of events; ``events`` empty: of all. ``ca``: see the operation."""

    url: str
    secret: str
    events: tuple[str, ...] = ()
    ca: str = ""


AnyEntity: TypeAlias = (
    Cluster | Group | Node | Instance | Mirror | Token | Joined | Bundle | Rollout | Webhook
)

CLUSTER_KEY: Final = "cluster"
PREFIXES: Final[dict[type[Any], str]] = {
    Group: "groups/",
    Node: "nodes/",
    Instance: "instances/",
    Mirror: "mirrors/",
    Token: "tokens/",
    Joined: "joined/",
    Bundle: "bundles/",
    Rollout: "rollouts/",
    Webhook: "webhooks/",
}


def key(entity: AnyEntity) -> str:
    """The store's key of ``entity``: ``cluster``, ``nodes/<uuid>``, …"""
    if isinstance(entity, Cluster):
        return CLUSTER_KEY
    return PREFIXES[type(entity)] + entity.uuid
