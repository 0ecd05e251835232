"""An instance as agents need to know it, with all levels of parameters filled in."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gantry.model.entities import Cluster, Disk, Instance, Nic, Parameters
from gantry.model.image_location import untold
from gantry.model.orders import DiskSpec, GuestSpec, NicSpec, OsRun
from gantry.model.parameters import (
    backend,
    backend_parameters,
    hypervisor_parameters,
    merge,
    os_parameters,
)
from gantry.model.snapshot import Snapshot

_OWN: Final = ("index", "targets")
"""Fields of specifications that are not an object's."""


def disk(index: int, one: Disk) -> DiskSpec:
    """One disk; ``index`` is its place in the instance."""
    return DiskSpec(index=index, **_shared(DiskSpec, one))


def disks(instance: Instance) -> tuple[DiskSpec, ...]:
    """All disks of an instance."""
    return tuple(disk(index, one) for index, one in enumerate(instance.disks))


def nic(index: int, one: Nic) -> NicSpec:
    """One NIC; ``index`` is its place in the instance."""
    return NicSpec(index=index, **_shared(NicSpec, one))


def nics(instance: Instance) -> tuple[NicSpec, ...]:
    """All NICs of an instance."""
    return tuple(nic(index, one) for index, one in enumerate(instance.nics))


def guest(
    cluster: Cluster,
    instance: Instance,
    hvparams: Parameters | None = None,
    beparams: Parameters | None = None,
) -> GuestSpec:
    """What runs; ``hvparams`` and ``beparams`` are for this one start only."""
    once = msgspec.structs.replace(instance, beparams=merge(instance.beparams, beparams or {}))
    filled = backend(cluster, once)
    own = merge(instance.hvparams, hvparams or {})
    return GuestSpec(
        uuid=instance.uuid,
        name=instance.name,
        hypervisor=instance.hypervisor,
        memory=filled.maxmem,
        vcpus=filled.vcpus,
        disks=disks(instance),
        nics=nics(instance),
        hvparams=hypervisor_parameters(cluster, instance.hypervisor, instance.os, own),
        machine=instance.machine,
        cpu_model=instance.cpu_model,
        network_port=instance.network_port,
    )


def os_run(cluster: Snapshot, instance: Instance, debug_level: int = 0) -> OsRun:
    """What the scripts of the instance's OS definition are told.

    ``debug_level`` is how often the user gave ``-d``; the interface knows 0 and 1 alone.
    """
    whole = cluster.cluster
    return OsRun(
        debug_level=1 if debug_level > 0 else 0,
        os=instance.os,
        uuid=instance.uuid,
        name=instance.name,
        hypervisor=instance.hypervisor,
        ctime=instance.ctime,
        mtime=instance.mtime,
        primary_node=(instance.primary_node, cluster.nodes[instance.primary_node].name),
        secondary_nodes=tuple(
            (uuid, cluster.nodes[uuid].name) for uuid in instance.secondary_nodes
        ),
        disks=disks(instance),
        nics=nics(instance),
        parameters=os_parameters(whole.osparams, instance.os, instance.osparams),
        private_parameters=untold(
            os_parameters(whole.osparams_private, instance.os, instance.osparams_private)
        ),
        beparams=backend_parameters(whole, instance.beparams),
        hvparams=hypervisor_parameters(whole, instance.hypervisor, instance.os, instance.hvparams),
    )


def _shared(kind: type[DiskSpec | NicSpec], one: Disk | Nic) -> dict[str, Any]:
    """The fields that a specification has from its object: all but its own."""
    return {name: getattr(one, name) for name in kind.__struct_fields__ if name not in _OWN}
