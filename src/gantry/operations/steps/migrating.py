"""What can be migrated as it runs, and how. Pure."""

from __future__ import annotations

from gantry.model.entities import DiskMode, DiskTemplate, Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestState
from gantry.model.parameters import hypervisor_parameters
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import moving

_EMULATION = "tcg"
"""QEMU's word."""


def running(cluster: Snapshot, instance: Instance) -> int:
    """The MiB of the running guest; Rejected where there is none."""
    guest = cluster.guest(instance)
    if guest is not None and guest.state is GuestState.RUNNING:
        return guest.memory
    paused = guest is not None and guest.state is GuestState.PAUSED
    raise Rejected(
        f"instance {instance.name} is {'paused' if paused else 'not running'}: there is nothing "
        "to migrate",
        f"gnt-instance failover {instance.name} brings it to another node; --allow-failover lets "
        "this command do that",
        reason=Reason.STATE,
        object_name=instance.name,
    )


def emulated(cluster: Snapshot, instance: Instance) -> bool:
    """Whether QEMU itself executes the guest's instructions, and no processor."""
    facts = cluster.node_live(instance.primary_node).facts
    offer = facts.hypervisors.get(instance.hypervisor) if facts else None
    values = hypervisor_parameters(
        cluster.cluster, instance.hypervisor, instance.os, instance.hvparams
    )
    emulation = offer is not None and offer.accelerator == _EMULATION
    return emulation or values.get("kvm_flag") == "disabled"


def local_disks(instance: Instance) -> tuple[int, ...]:
    """The disks that have to go with the guest, by index; Rejected where they cannot."""
    if moving.shared(instance) or instance.disk_template is DiskTemplate.MIRROR:
        return ()
    if instance.disk_template is not DiskTemplate.FILE:
        raise Rejected(
            f"instance {instance.name} cannot be migrated: its disks are of template "
            f"{instance.disk_template}",
            f"gnt-instance failover {instance.name} stops it, and starts it on another node",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    for index, disk in enumerate(instance.disks):
        if disk.mode is DiskMode.READ_ONLY:
            raise Rejected(
                f"disk {index} of instance {instance.name} is read-only, and on its node alone: "
                "it cannot be copied while the guest runs",
                f"gnt-instance move {instance.name} stops the guest and copies all of it",
                reason=Reason.STATE,
                object_name=instance.name,
            )
    return tuple(range(len(instance.disks)))
