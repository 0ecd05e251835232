"""What installs an instance: scripts on the node, in a guest of their own, or an image. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.model import image_location, timeouts
from gantry.model.entities import HypervisorName, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.image_location import OS_IMAGE, shown
from gantry.model.image_orders import ImageWrite, ReadImage
from gantry.model.orders import InstallationGuest, OsCreate, OsInstall, OsRun
from gantry.model.parameters import backend
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps import oses, specs
from gantry.ports.steps import Changes, Steps

SCRIPT: Final = "os-create"
IMAGE: Final = "os-image"
STEPS: Final = (SCRIPT, IMAGE)
"""The names of the effects that write to an instance's disks."""
_MIB: Final = 1 << 20


class Installing(msgspec.Struct, frozen=True, kw_only=True):
    """``image`` is written first, where there is one; then the script runs, where ``run`` is.

    ``guest``: the script is not trusted, and runs in that one.
    """

    image: str = ""
    run: OsRun | None = None
    guest: InstallationGuest | None = None

    @property
    def memory(self) -> int:
        """MiB that it needs on the node."""
        return self.guest.memory if self.guest else 0

    def __bool__(self) -> bool:
        return bool(self.image) or self.run is not None


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long an installation guest may take, in seconds; None: the usual."""

    startup: int | None = None
    shutdown: int | None = None


def image_of(instance: Instance, *, kept: bool = False) -> str:
    """The image that the instance is to begin with, or nothing; Rejected.

    ``kept``: nothing is installed now, so all that matters is what everybody may read.
    """
    public = instance.osparams.get(OS_IMAGE, "")
    private = instance.osparams_private.get(OS_IMAGE, "")
    if kept and not image_location.has_password(public):
        return ""
    if public and private:
        raise Rejected(
            f"{OS_IMAGE} is a public and a private OS parameter of {instance.name}",
            "give it once; NAME=default takes a setting away",
        )
    if private:
        return image_location.private(private, f"the private OS parameter {OS_IMAGE}")
    return image_location.public(public, f"the OS parameter {OS_IMAGE}") if public else ""


def untrusted(cluster: Snapshot, os: str, node: Node) -> bool:
    """Whether the definition's script is to run in a guest."""
    facts = oses.on(cluster, node, os.partition("+")[0])
    return facts is not None and not facts.trusted


def guest(cluster: Snapshot, instance: Instance, patience: Patience) -> InstallationGuest:
    """The guest that installs the instance, or Rejected."""
    if instance.hypervisor is not HypervisorName.KVM:
        raise Rejected(
            f"OS {instance.os} has create_untrusted, which runs in a guest, and hypervisor "
            f"{instance.hypervisor} runs none",
            "install it with hypervisor kvm (-H kvm)",
            object_name=instance.name,
        )
    image = cluster.cluster.install_image
    if not image:
        raise Rejected(
            f"OS {instance.os} has create_untrusted, which runs in an installation guest, and "
            "the cluster has no image to boot that from",
            "gnt-cluster modify --install-image=FILE|URL sets it; docs/os/untrusted.md says how "
            "to build one",
            reason=Reason.STATE,
        )
    filled = backend(cluster.cluster, instance)
    return InstallationGuest(
        image=image,
        memory=filled.maxmem,
        vcpus=filled.vcpus,
        startup=_seconds(patience.startup, timeouts.HELPER_STARTUP, "startup"),
        shutdown=_seconds(patience.shutdown, timeouts.HELPER_SHUTDOWN, "shutdown"),
    )


def _seconds(given: int | None, usual: float, which: str) -> float:
    if given is None:
        return usual
    if not 1 <= given <= timeouts.OS_CREATE:
        most = int(timeouts.OS_CREATE)
        raise Rejected(f"--helper-{which}-timeout is of 1 to {most} seconds, not {given}")
    return float(given)


def plan(
    cluster: Snapshot, instance: Instance, patience: Patience, debug_level: int = 0
) -> Installing:
    """How the instance, which is in the snapshot, is installed. Rejected.

    An image stands in for a definition's ``create``; what is not trusted also runs after it.
    """
    image = image_of(instance)
    node = cluster.nodes[instance.primary_node]
    apart = bool(instance.os) and untrusted(cluster, instance.os, node)
    if image and not apart:
        return Installing(image=image)
    if not instance.os:
        return Installing()
    return Installing(
        image=image,
        run=specs.os_run(cluster, instance, debug_level),
        guest=guest(cluster, instance, patience) if apart else None,
    )


async def examine(installing: Installing, instance: Instance, ask: Examiner) -> None:
    """The images are there, and fit; or Rejected."""
    node = instance.primary_node
    if installing.guest is not None:
        image = installing.guest.image
        there = await ask.ask(node, ReadImage(image=image), timeouts.FAST)
        _small_enough(image, there.download, image_location.INSTALL_IMAGE)
    if not installing.image:
        return
    found = await ask.ask(node, ReadImage(image=installing.image), timeouts.FAST)
    size = instance.disks[0].size
    if found.size > size * _MIB:
        raise Rejected(
            f"the image {shown(installing.image)} needs a disk of "
            f"{-(-found.size // _MIB)} MiB, disk 0 of {instance.name} has {size} MiB",
            "make the disk larger",
            object_name=instance.name,
        )
    _small_enough(installing.image, found.download, image_location.largest(size))


def _small_enough(image: str, download: int, most: int) -> None:
    """What its server says is believed here; more than ``most`` is never written."""
    if download > most:
        raise Rejected(
            f"the image {shown(image)} has {-(-download // _MIB)} MiB, of which at "
            f"most {most // _MIB} are fetched",
            "see whether it is the right one, or make the disk larger",
        )


async def carry_out(
    installing: Installing,
    instance: Instance,
    steps: Steps,
    *,
    reinstall: bool = False,
    first: Changes | None = None,
) -> None:
    """Write the image, run the script. ``first`` is recorded with the first of them."""
    node = instance.primary_node
    if installing.image:
        steps.log(f"writing the image {shown(installing.image)} to disk 0...")
        order = ImageWrite(
            disk=specs.disk(0, instance.disks[0]),
            image=installing.image,
            instance=instance.uuid,
            name=instance.name,
        )
        await steps.do(IMAGE, node, order, first=first, timeout=timeouts.OS_CREATE)
        first = None
    run = installing.run
    if run is None:
        return
    if installing.guest is None:
        steps.log(f"running the create script of OS {run.os}...")
        script: OsCreate | OsInstall = OsCreate(run=run, reinstall=reinstall)
    else:
        steps.log(f"running the create_untrusted script of OS {run.os} in an installation guest...")
        script = OsInstall(run=run, reinstall=reinstall, guest=installing.guest)
    await steps.do(SCRIPT, node, script, first=first, timeout=timeouts.OS_CREATE)
