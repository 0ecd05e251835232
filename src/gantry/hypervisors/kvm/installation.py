"""QEMU for one installation: a guest that boots an image, runs a script and powers off.

It has no monitor and no console that anybody could attach to, and of its instance only the
disks, the NICs, and those parameters that say how QEMU is to work here, not what the instance's
own system needs. What it writes to its image goes to a file that has no name any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Final

from gantry.hypervisors.contract import Installation, Program
from gantry.hypervisors.kvm import command_line, devices, supported
from gantry.hypervisors.kvm.launch import Surroundings, accelerator, open_taps
from gantry.model.errors import Reason, Rejected
from gantry.model.live import HypervisorFacts
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

PACKAGE: Final = "os-package"
"""The serial number of the disk that has the definition."""
_KEPT: Final = (
    *("kvm_path", "kvm_flag", "cpu_type", "disk_cache", "disk_aio"),
    *("nic_type", "vhost_net", "vnet_hdr"),
)
_ERRORS: Final = {"werror": "report", "rerror": "report"}
"""The guest sees them, so that its script fails: nobody is there to let it go on."""
_IMAGE_SLOT: Final = devices.VGA_SLOT
_PACKAGE_SLOT: Final = devices.USB_SLOT
"""The image comes first and the package last, so that the instance's disks begin with vdb."""


@contextlib.asynccontextmanager
async def program(
    guest: Installation, facts: Awaitable[HypervisorFacts], around: Surroundings
) -> AsyncIterator[Program]:
    """See the contract; ``facts`` are those of the QEMU that runs it."""
    found = await facts
    if not found.available:
        raise Rejected(
            f"node {around.node} cannot run the guest that installs {guest.name}: {found.why}",
            reason=Reason.ENVIRONMENT,
            node=around.node,
            object_name=guest.name,
        )
    spec = _spec(guest)
    with contextlib.ExitStack() as opened:
        taps = await open_taps(spec, around, opened)
        place = command_line.Place(
            accelerator=accelerator(spec, found),
            machine=found.machine,
            cpu_model=found.cpu_model,
            root="/",
            console_log="",
            vhost=found.accelerator == "kvm" and Path("/dev/vhost-net").exists(),
        )
        argv = build(guest, spec, place, taps)
        yield Program(tuple(argv), (guest.package, guest.results, *taps.values()))


def _spec(guest: Installation) -> GuestSpec:
    kept = {key: guest.hvparams[key] for key in _KEPT if key in guest.hvparams}
    return GuestSpec(
        uuid=Uuid(""),
        name=guest.name,
        hypervisor="kvm",
        memory=guest.memory,
        vcpus=guest.vcpus,
        nics=guest.nics,
        # A NIC that could boot would stand before the image.
        hvparams={**kept, "boot_order": "disk"},
    )


def build(
    guest: Installation, spec: GuestSpec, place: command_line.Place, taps: dict[int, int]
) -> list[str]:
    """The whole command."""
    values = supported.check(guest.name, spec.hvparams)
    buses = devices.Buses(place.machine)
    handles = command_line.Handles(monitor=-1, serial=-1, taps=taps)
    kvm = place.accelerator is command_line.Accelerator.KVM
    escape = command_line.escape
    return [
        str(values["kvm_path"]),
        *("-name", f"guest={escape(f'install-{guest.name}')},debug-threads=on"),
        *command_line.BARE,
        *command_line.SANDBOX,
        *("-machine", f"{escape(place.machine)},usb=off,dump-guest-core=off"),
        *("-accel", "kvm" if kvm else "tcg,tb-size=32"),
        *("-cpu", str(values["cpu_type"]) or place.cpu_model),
        *("-smp", f"cpus={guest.vcpus}"),
        *("-m", f"{guest.memory}M"),
        *("-action", "reboot=shutdown,shutdown=poweroff,panic=shutdown"),
        *("-boot", "strict=on"),
        *("-display", "none"),
        *_serial_ports(guest),
        *_image(guest, buses),
        *_disks(guest, values, buses),
        *_package(guest, buses),
        *command_line.networks(spec, values, place, handles, buses),
    ]


def _serial_ports(guest: Installation) -> list[str]:
    """The second one is known to QEMU by a path, since it opens it itself."""
    return [
        *("-chardev", "stdio,id=output,signal=off"),
        *("-device", "isa-serial,chardev=output"),
        *("-chardev", f"file,id=results,path=/dev/fd/{guest.results}"),
        *("-device", "isa-serial,chardev=results"),
    ]


def _image(guest: Installation, buses: devices.Buses) -> list[str]:
    """A snapshot is an option of -drive alone."""
    path = command_line.escape(guest.image)
    drive = f"if=none,id=image,snapshot=on,format={guest.image_format.value},file.driver=file"
    device = {
        "driver": "virtio-blk-pci",
        "drive": "image",
        **_ERRORS,
        "serial": "install-image",
        "bootindex": 1,
        **buses.slot(_IMAGE_SLOT),
    }
    return [
        *("-drive", f"{drive},file.filename={path}"),
        *("-device", devices.encode(device)),
    ]


def _disks(guest: Installation, values: devices.Values, buses: devices.Buses) -> list[str]:
    if len(guest.disks) > devices.MOST_DISKS:
        raise Rejected(f"{guest.name} has too many disks", object_name=guest.name)
    argv: list[str] = []
    for index, path in enumerate(guest.disks):
        file = {
            "driver": "host_device" if Path(path).is_block_device() else "file",
            "filename": path,
            "aio": values["disk_aio"],
            "discard": "unmap",
            "cache": {"direct": values["disk_cache"] == "none"},
        }
        block = {"driver": "raw", "node-name": f"disk{index}", "discard": "unmap", "file": file}
        device = {
            "driver": "virtio-blk-pci",
            "drive": f"disk{index}",
            **_ERRORS,
            "serial": f"disk{index}",
            **buses.slot(devices.DISK_SLOT + index),
        }
        argv += ["-blockdev", devices.encode(block), "-device", devices.encode(device)]
    return argv


def _package(guest: Installation, buses: devices.Buses) -> list[str]:
    file = {
        "driver": "file",
        "filename": f"/dev/fd/{guest.package}",
        "read-only": True,
        # It has no other reader, and no name.
        "locking": "off",
    }
    block = {"driver": "raw", "node-name": "package", "read-only": True, "file": file}
    device = {"driver": "virtio-blk-pci", "drive": "package", "serial": PACKAGE}
    return [
        *("-blockdev", devices.encode(block)),
        *("-device", devices.encode({**device, **buses.slot(_PACKAGE_SLOT)})),
    ]
