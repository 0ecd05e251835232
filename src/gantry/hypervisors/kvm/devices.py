"""A guest's devices as QEMU's command line names them. Pure.

Every PCI device has its own fixed slot, by its index: a guest finds its disks and NICs under
the same names whatever else is added or taken away. All in the -blockdev/-device/-netdev
style, as JSON where a value may hold any character.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gantry.model.entities import DiskMode, DiskTemplate, NicMode, ParameterValue
from gantry.model.errors import Rejected
from gantry.model.orders import DiskSpec, NicSpec

VGA_SLOT: Final = 0x02
DISK_SLOT: Final = 0x03
MOST_DISKS: Final = 16
NIC_SLOT: Final = 0x13
MOST_NICS: Final = 8
SCSI_SLOT: Final = 0x1B
USB_SLOT: Final = 0x1C
CHANNEL_SLOT: Final = 0x1D
ISOLATED: Final = "isolated"
"""The link of a user-mode NIC that reaches nothing but its own DHCP server."""

_DISK_DEVICE: Final = {"paravirtual": "virtio-blk-pci", "ide": "ide-hd", "scsi-hd": "scsi-hd"}
_CDROM_DEVICE: Final = {"": "ide-cd", "ide": "ide-cd", "scsi-cd": "scsi-cd"}
_SCSI: Final = {"lsi": "lsi53c895a", "megasas": "megasas", "virtio-scsi-pci": "virtio-scsi-pci"}
_NIC_DEVICE: Final = {"paravirtual": "virtio-net-pci"}

Values = Mapping[str, ParameterValue]


def encode(value: Mapping[str, object]) -> str:
    """An option's value in QEMU's JSON form."""
    return msgspec.json.encode(value).decode()


class Buses:
    """Which bus the devices are on, by machine type."""

    def __init__(self, machine: str) -> None:
        self.pci = "pcie.0" if "q35" in machine else "pci.0"
        # Two drives a channel on the PIIX controller, one a port on AHCI.
        self._per_channel = 1 if "q35" in machine else 2
        self._most = 6 if "q35" in machine else 4
        self._used = 0

    def slot(self, number: int) -> dict[str, object]:
        """A PCI slot."""
        return {"bus": self.pci, "addr": hex(number)}

    def ide(self, guest: str) -> dict[str, object]:
        """The next free place for an IDE drive."""
        place = self._used
        if place == self._most:
            raise Rejected(
                f"{guest} has more than {self._most} IDE drives",
                "use disk_type=paravirtual",
                object_name=guest,
            )
        self._used += 1
        return {"bus": f"ide.{place // self._per_channel}", "unit": place % self._per_channel}


def disks(
    guest: str, specs: Sequence[DiskSpec], values: Values, root: str, buses: Buses
) -> list[str]:
    """All disks; the paths get the node's ``root`` before them."""
    if len(specs) > MOST_DISKS:
        raise Rejected(f"{guest} has more than {MOST_DISKS} disks", object_name=guest)
    kind = str(values["disk_type"])
    argv: list[str] = []
    if specs and kind == "scsi-hd":
        argv += scsi_controller(values, buses)
    for disk in specs:
        one = disk_parts(guest, disk, values, root, buses)
        argv += ["-blockdev", encode(one.file), "-blockdev", encode(one.image)]
        argv += ["-device", encode(one.device)]
    return argv


def scsi_controller(values: Values, buses: Buses) -> list[str]:
    """The controller of SCSI disks and drives."""
    model = _SCSI[str(values["scsi_controller_type"])]
    return ["-device", encode({"driver": model, "id": "scsi", **buses.slot(SCSI_SLOT)})]


class DiskParts(msgspec.Struct, frozen=True):
    """What a disk is to QEMU: the file, the image in it, the guest's device."""

    file: dict[str, object]
    image: dict[str, object]
    device: dict[str, object]


def disk_parts(guest: str, disk: DiskSpec, values: Values, root: str, buses: Buses) -> DiskParts:
    """One disk; its path gets the node's ``root`` before it."""
    kind = str(values["disk_type"])
    read_only = disk.mode is DiskMode.READ_ONLY
    if read_only and kind == "ide":
        raise Rejected(
            f"disk {disk.index} of {guest} is read-only, which IDE disks cannot be",
            "use disk_type=paravirtual or scsi-hd",
            object_name=guest,
        )
    cache = str(values["disk_cache"])
    file, image = nodes(disk, values, root, str(values["disk_discard"]))
    device: dict[str, object] = {
        "driver": _DISK_DEVICE[kind],
        "drive": f"disk{disk.index}",
        "id": f"drive{disk.index}",
        "write-cache": "off" if cache == "writethrough" else "on",
    }
    if disk.template is DiskTemplate.MIRROR:
        # What goes wrong beside a mirror is no error of the guest's disk: see broken_copies.
        device["werror"] = "stop"
    if kind == "paravirtual":
        device |= buses.slot(DISK_SLOT + disk.index)
    elif kind == "ide":
        device |= buses.ide(guest)
    else:
        device |= {"bus": "scsi.0", "scsi-id": disk.index % 7}
    device |= _boot(values, "disk", disk.index)
    return DiskParts(file, image, device)


def nodes(
    disk: DiskSpec, values: Values, root: str, discard: str
) -> tuple[dict[str, object], dict[str, object]]:
    """A disk's file and its image, as QEMU's block layer knows them."""
    read_only = disk.mode is DiskMode.READ_ONLY
    if disk.template is DiskTemplate.MIRROR:
        discard = "ignore"  # a replica keeps all its blocks: one without room would lose a write
    file: dict[str, object] = {
        "driver": "file",
        "filename": root.rstrip("/") + disk.path,
        "node-name": f"file{disk.index}",
        "aio": values["disk_aio"],
        "discard": discard,
        "cache": {"direct": values["disk_cache"] == "none"},
        "read-only": read_only,
    }
    image: dict[str, object] = {
        "driver": disk.format.value,
        "file": f"file{disk.index}",
        "node-name": f"disk{disk.index}",
        "discard": discard,
        "read-only": read_only,
    }
    return file, image


def _boot(values: Values, kind: str, index: int) -> dict[str, object]:
    if values["kernel_path"] or values["boot_order"] != kind:
        return {}
    return {"bootindex": index + 1}


def guest_agent(listener: int | None, buses: Buses) -> list[str]:
    """The channel to the agent inside the guest, on an inherited socket; None: it has none."""
    if listener is None:
        return []
    controller = {"driver": "virtio-serial-pci", "id": "channels", **buses.slot(CHANNEL_SLOT)}
    port = {
        "driver": "virtserialport",
        "id": "agent0",
        "bus": "channels.0",
        "chardev": "agent",
        "name": "org.qemu.guest_agent.0",
    }
    return [
        *("-chardev", f"socket,id=agent,fd={listener},server=on,wait=off"),
        *("-device", encode(controller), "-device", encode(port)),
    ]


def removable(guest: str, values: Values, buses: Buses, has_scsi: bool) -> list[str]:
    """CD drives, where the parameters name images."""
    argv: list[str] = []
    kind = str(values["cdrom_disk_type"])
    for index, name in enumerate(("cdrom_image_path", "cdrom2_image_path")):
        if not values[name]:
            continue
        device: dict[str, object] = {"id": f"cdrom{index}"}
        if kind == "paravirtual":
            device |= {"driver": "virtio-blk-pci", "bus": buses.pci}
        elif kind == "scsi-cd":
            argv += [] if has_scsi else scsi_controller(values, buses)
            has_scsi = True
            device |= {"driver": "scsi-cd", "bus": "scsi.0"}
        else:
            device |= {"driver": _CDROM_DEVICE[kind], **buses.ide(guest)}
        device |= _boot(values, "cdrom", index)
        argv += _image(f"cd{index}", str(values[name]), device)
    return argv


def _image(node: str, path: str, device: dict[str, object]) -> list[str]:
    file = {"driver": "file", "filename": path, "read-only": True}
    block = {"driver": "raw", "node-name": node, "read-only": True, "file": file}
    return ["-blockdev", encode(block), "-device", encode({**device, "drive": node})]


def nics(
    guest: str, specs: Sequence[NicSpec], values: Values, taps: Mapping[int, int], buses: Buses
) -> list[str]:
    """All NICs; ``taps`` maps the index of a bridged one to its open tap."""
    if len(specs) > MOST_NICS:
        raise Rejected(f"{guest} has more than {MOST_NICS} NICs", object_name=guest)
    argv: list[str] = []
    kind = str(values["nic_type"])
    for nic in specs:
        device: dict[str, object] = {
            "driver": _NIC_DEVICE.get(kind, kind),
            "id": f"nic{nic.index}",
            "netdev": f"net{nic.index}",
            "mac": nic.mac,
            **buses.slot(NIC_SLOT + nic.index),
            **_boot(values, "network", nic.index),
        }
        if "bootindex" not in device:
            device["romfile"] = ""  # it boots nothing: spare memory and time
        argv += ["-netdev", _backend(guest, nic, taps), "-device", encode(device)]
    return argv


def _backend(guest: str, nic: NicSpec, taps: Mapping[int, int]) -> str:
    name = f"net{nic.index}"
    if nic.mode is NicMode.USER:
        return f"user,id={name},{user_network(guest, nic)}"
    return f"tap,id={name},fd={taps[nic.index]}"


def user_network(guest: str, nic: NicSpec) -> str:
    """QEMU's own network, made so that its DHCP server gives the guest the NIC's address."""
    restrict = ",restrict=on" if nic.link == ISOLATED else ""
    if nic.ip is None:
        return f"ipv6=off{restrict}"
    try:
        address = ipaddress.IPv4Address(nic.ip)
    except ipaddress.AddressValueError:
        raise Rejected(
            f"NIC {nic.index} of {guest} cannot have the address {nic.ip}",
            "a NIC of mode user has an IPv4 address",
            object_name=guest,
        ) from None
    network = ipaddress.IPv4Network((address, 24), strict=False)
    if address in (network.network_address, network.broadcast_address):
        raise Rejected(
            f"NIC {nic.index} of {guest} cannot have the address {nic.ip}: it is not a host's",
            object_name=guest,
        )
    free = (network[number] for number in (2, 3, 4) if network[number] != address)
    gateway, resolver = next(free), next(free)
    return f"ipv6=off,net={network},host={gateway},dns={resolver},dhcpstart={address}{restrict}"
