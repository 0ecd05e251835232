"""Which hypervisor parameters this driver honours, and which it refuses to pretend to.

A parameter that would be ignored is an error: a guest must not run otherwise than its
operator believes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gantry.model import parameters
from gantry.model.entities import ParameterValue
from gantry.model.errors import Rejected

UNSUPPORTED: Final = (
    "spice_bind",
    "security_domain",
    "floppy_image_path",
    "soundhw",
    "usb_devices",
    "use_chroot",
    "migration_caps",
)
"""May only have their defaults. The other ``spice_…`` ones mean nothing without spice_bind."""
ONLY: Final[dict[str, tuple[ParameterValue, ...]]] = {
    "security_model": ("none",),
    "cpu_mask": ("all",),
    "virtio_net_queues": (1,),
    "kvm_flag": ("", "enabled", "disabled"),
    "usb_mouse": ("", "tablet", "mouse"),
    "disk_type": ("paravirtual", "ide", "scsi-hd"),
    "cdrom_disk_type": ("", "ide", "paravirtual", "scsi-cd"),
    "nic_type": ("paravirtual", "e1000", "rtl8139", "ne2k_pci", "pcnet"),
    "disk_cache": ("default", "none", "writeback", "writethrough"),
    "disk_aio": ("threads", "native", "io_uring"),
    "disk_discard": ("ignore", "unmap"),
    "boot_order": ("disk", "cdrom", "network"),
    "reboot_behavior": ("reboot", "exit"),
    "vga": ("", "none", "std", "cirrus", "virtio", "vmware", "qxl"),
    "scsi_controller_type": ("lsi", "virtio-scsi-pci", "megasas"),
}
_PATHS: Final = (
    "kvm_path",
    "kernel_path",
    "initrd_path",
    "cdrom_image_path",
    "cdrom2_image_path",
    "mem_path",
    "vnc_password_file",
    "vnc_x509_path",
)


def check(guest: str, hvparams: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """The parameters, with the defaults for missing ones; Rejected where one cannot be had."""
    filled = parameters.fill(parameters.KVM, hvparams)
    unknown = sorted(set(filled) - set(parameters.KVM))
    if unknown:
        raise _refused(guest, unknown[0], filled[unknown[0]], "there is no such parameter")
    for name in UNSUPPORTED:
        if filled[name] != parameters.KVM[name]:
            raise _refused(guest, name, filled[name], "this version does not support it")
    for name, choices in ONLY.items():
        if filled[name] not in choices:
            raise _refused(guest, name, filled[name], f"it is one of {_listed(choices)}")
    for name in _PATHS:
        path = str(filled[name])
        if path and not path.startswith("/"):
            raise _refused(guest, name, path, "it is an absolute path")
    _combinations(guest, filled)
    return filled


def _combinations(guest: str, filled: Mapping[str, ParameterValue]) -> None:
    if filled["disk_aio"] == "native" and filled["disk_cache"] != "none":
        raise _refused(guest, "disk_aio", "native", "it needs disk_cache=none")
    if str(filled["vnc_bind_address"]).startswith("/"):
        raise _refused(guest, "vnc_bind_address", filled["vnc_bind_address"], "it is an address")
    if filled["initrd_path"] and not filled["kernel_path"]:
        raise _refused(guest, "initrd_path", filled["initrd_path"], "it needs kernel_path")


def _listed(choices: tuple[ParameterValue, ...]) -> str:
    return ", ".join(repr(choice) if choice == "" else str(choice) for choice in choices)


def _refused(guest: str, name: str, value: ParameterValue, why: str) -> Rejected:
    return Rejected(
        f"{guest} cannot be run with {name}={value}: {why}",
        f"see gnt-instance modify -H {name}=…",
        object_name=guest,
    )
