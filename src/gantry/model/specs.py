"""Disks, NICs and instances as nodes need to know them: parts of many orders.

Paths are the node's own, without its root. Sizes are MiB, times seconds.
"""

from __future__ import annotations

import msgspec

from gantry.model.entities import (
    DiskFormat,
    DiskMode,
    DiskTemplate,
    NicMode,
    OnDegraded,
    ParameterValue,
)
from gantry.model.names import Uuid


class MirrorTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replica of a mirrored disk is served: by which node, at which address.

    ``name`` is the node's. ``full``: all of the disk is to be copied there; else it is the
    same already. ``content``: the word for what is there, where that is known beforehand.
    """

    node: Uuid
    name: str
    host: str
    port: int
    full: bool = False
    content: str = ""


class DiskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A disk as the node needs to know it."""

    uuid: Uuid
    index: int
    size: int
    path: str
    template: DiskTemplate
    format: DiskFormat = DiskFormat.RAW
    mode: DiskMode = DiskMode.READ_WRITE
    driver: str = "loop"
    name: str | None = None
    generation: int = 0
    on_degraded: OnDegraded = OnDegraded.WAIT
    targets: tuple[MirrorTarget, ...] = ()
    """Where else every write goes (template mirror; for a guest's start)."""
    resync_rate: int = 0
    """MiB a second that a copy to a replica takes at most; 0: as fast as it goes."""


class NicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A NIC as the hypervisor and the OS scripts need to know it."""

    uuid: Uuid
    index: int
    mac: str
    mode: NicMode
    link: str = ""
    vlan: str = ""
    ip: str | None = None
    name: str | None = None


class GuestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to run a guest. ``hvparams`` are filled from all levels."""

    uuid: Uuid
    name: str
    hypervisor: str
    memory: int
    vcpus: int
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    hvparams: dict[str, ParameterValue] = {}
    machine: str = ""
    cpu_model: str = ""
    network_port: int | None = None


class OsRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the scripts of a definition are told: the instance with all levels filled in.

    ``parameters`` are the effective public and private ones; secret ones travel beside the
    order (``Envelope.secrets``) and are never kept.
    """

    os: str
    uuid: Uuid
    name: str
    hypervisor: str
    ctime: float
    mtime: float
    primary_node: tuple[Uuid, str]
    secondary_nodes: tuple[tuple[Uuid, str], ...] = ()
    disks: tuple[DiskSpec, ...] = ()
    nics: tuple[NicSpec, ...] = ()
    parameters: dict[str, str] = {}
    private_parameters: dict[str, str] = {}
    beparams: dict[str, ParameterValue] = {}
    hvparams: dict[str, ParameterValue] = {}
    debug_level: int = 0


class InstallationGuest(msgspec.Struct, frozen=True, kw_only=True):
    """Where a script runs that is not trusted: a guest of its own, booted from ``image``.

    ``image`` is a path on the node, or a URL. It has ``memory`` MiB, ``vcpus`` and the NICs of
    the instance. ``startup`` seconds after its start it has begun with the script, and
    ``shutdown`` seconds later it is off again.
    """

    image: str
    memory: int
    vcpus: int
    startup: float
    shutdown: float
