"""Parameters of instances, their defaults, and how the levels are filled in.

Names, defaults and spelling are Ganeti's, because hooks and OS scripts see every filled
parameter (``INSTANCE_HV_…``, ``INSTANCE_BE_…``). Three defaults differ on purpose:
``kernel_path`` is empty, so that a guest boots its own disk, ``kvm_path`` finds Debian's QEMU,
and ``migration_bandwidth`` is 0, no limit, where Ganeti's 32 MiB/s are less than a disk's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from gantry.model import names, sizes
from gantry.model.entities import (
    Cluster,
    Group,
    HypervisorName,
    Instance,
    Node,
    Parameters,
    ParameterValue,
)
from gantry.model.errors import Rejected

KVM: Final[dict[str, ParameterValue]] = {
    "kvm_path": "/usr/bin/qemu-system-x86_64",
    "kernel_path": "",
    "initrd_path": "",
    "kernel_args": "ro",
    "root_path": "/dev/vda1",
    "acpi": True,
    "serial_console": True,
    "serial_speed": 38400,
    "vnc_bind_address": "",
    "vnc_tls": False,
    "vnc_x509_path": "",
    "vnc_x509_verify": False,
    "vnc_password_file": "",
    "scsi_controller_type": "lsi",
    "kvm_pci_reservations": 12,
    "spice_bind": "",
    "spice_ip_version": 0,
    "spice_password_file": "",
    "spice_image_compression": "",
    "spice_jpeg_wan_compression": "",
    "spice_zlib_glz_wan_compression": "",
    "spice_streaming_video": "",
    "spice_playback_compression": True,
    "spice_use_tls": False,
    "spice_tls_ciphers": "HIGH:-DES:-3DES:-EXPORT:-DH",
    "spice_use_vdagent": True,
    "floppy_image_path": "",
    "cdrom_image_path": "",
    "cdrom2_image_path": "",
    "boot_order": "disk",
    "nic_type": "paravirtual",
    "disk_type": "paravirtual",
    "cdrom_disk_type": "",
    "disk_aio": "threads",
    "usb_mouse": "",
    "keymap": "",
    "migration_port": 8102,
    "migration_bandwidth": 0,
    "migration_downtime": 30,
    "migration_mode": "live",
    "use_guest_agent": False,
    "use_localtime": False,
    "disk_cache": "default",
    "disk_discard": "ignore",
    "security_model": "none",
    "security_domain": "",
    "kvm_flag": "",
    "vhost_net": True,
    "virtio_net_queues": 1,
    "use_chroot": False,
    "user_shutdown": False,
    "mem_path": "",
    "reboot_behavior": "reboot",
    "cpu_mask": "all",
    "cpu_type": "",
    "cpu_cores": 0,
    "cpu_threads": 0,
    "cpu_sockets": 0,
    "soundhw": "",
    "usb_devices": "",
    "vga": "",
    "kvm_extra": "",
    "machine_version": "",
    "migration_caps": "",
    "vnet_hdr": True,
}
FAKE: Final[dict[str, ParameterValue]] = {"migration_mode": "live"}
HYPERVISOR: Final[dict[HypervisorName, dict[str, ParameterValue]]] = {
    HypervisorName.KVM: KVM,
    HypervisorName.FAKE: FAKE,
}
BACKEND: Final[dict[str, ParameterValue]] = {
    "always_failover": False,
    "auto_balance": True,
    "maxmem": 128,
    "minmem": 128,
    "spindle_use": 1,
    "vcpus": 1,
}
NIC: Final[dict[str, ParameterValue]] = {"mode": "bridged", "link": "br0", "vlan": ""}
NODE: Final[dict[str, ParameterValue]] = {
    "oob_program": "",
    "spindle_count": 1,
    "exclusive_storage": False,
    "ovs": False,
    "ovs_name": "switch1",
    "ovs_link": "",
    "ssh_port": 22,
    "cpu_speed": 1.0,
}
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "boot_order": ("disk", "cdrom", "network", "floppy"),
    "disk_aio": ("threads", "native", "io_uring"),
    "disk_cache": ("default", "none", "writeback", "writethrough"),
    "reboot_behavior": ("reboot", "exit"),
    "migration_mode": ("live", "non-live"),
    "nic_type": ("paravirtual", "e1000", "rtl8139", "ne2k_pci", "pcnet"),
    "disk_type": ("paravirtual", "ide", "scsi-hd"),
    "disk_discard": ("ignore", "unmap"),
}
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "vcpus": (1, 1024),
    "cpu_cores": (0, 1024),
    "cpu_threads": (0, 1024),
    "cpu_sockets": (0, 1024),
    "virtio_net_queues": (1, 256),
    "kvm_pci_reservations": (0, 32),
    "serial_speed": (1, 4_000_000),
    "spice_ip_version": (0, 6),
    "migration_port": (1, 65535),
    "ssh_port": (1, 65535),
    "spindle_use": (0, 65535),
    "spindle_count": (0, 65535),
}
"""Least and most of what has no meaning beyond; 0 cores, threads or sockets are QEMU's choice."""
_MEMORY: Final = ("maxmem", "minmem", "memory")
_PATHS: Final = ("oob_program",)
_MOST: Final = 2**31 - 1
"""No number means anything beyond it, and no program that gets it takes more."""
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """The filled backend parameters; memory in MiB."""

    minmem: int
    maxmem: int
    vcpus: int
    auto_balance: bool = True
    always_failover: bool = False
    spindle_use: int = 1


def fill(*levels: Mapping[str, ParameterValue]) -> Parameters:
    """One dictionary out of several, the later the stronger."""
    filled: Parameters = {}
    for level in levels:
        filled.update(level)
    return filled


def backend_parameters(cluster: Cluster, own: Mapping[str, ParameterValue]) -> Parameters:
    """The filled backend parameters, sorted by name."""
    return dict(sorted(fill(BACKEND, cluster.beparams, own).items()))


def memory(cluster: Cluster, instance: Instance) -> int:
    """The MiB that an instance may use: what ``backend`` gives as ``maxmem``, and quickly."""
    own = instance.beparams.get("maxmem")
    filled = cluster.beparams.get("maxmem", BACKEND["maxmem"]) if own is None else own
    return filled if isinstance(filled, int) else backend(cluster, instance).maxmem


def backend(cluster: Cluster, instance: Instance) -> Backend:
    """The filled backend parameters of an instance, typed."""
    return msgspec.convert(fill(BACKEND, cluster.beparams, instance.beparams), Backend)


def node_parameters(cluster: Cluster, group: Group | None, node: Node) -> Parameters:
    """Defaults, cluster, group, the node's own: filled and sorted."""
    levels = [NODE, cluster.ndparams, group.ndparams if group else {}, node.ndparams]
    return dict(sorted(fill(*levels).items()))


def hypervisor_parameters(
    cluster: Cluster, hypervisor: HypervisorName, os: str, own: Mapping[str, ParameterValue]
) -> Parameters:
    """Defaults, cluster, OS, OS with variant, the instance's own: filled and sorted."""
    base = os.partition("+")[0]
    levels = [HYPERVISOR[hypervisor], cluster.hvparams.get(hypervisor, {})]
    levels += [
        cluster.os_hvp.get(name, {}).get(hypervisor, {}) for name in dict.fromkeys((base, os))
    ]
    return dict(sorted(fill(*levels, own).items()))


def os_parameters(
    by_os: Mapping[str, Mapping[str, str]], os: str, own: Mapping[str, str]
) -> dict[str, str]:
    """Parameters of an OS: cluster by base name, cluster by name+variant, the instance's own."""
    filled: dict[str, str] = {}
    for name in dict.fromkeys((os.partition("+")[0], os)):
        filled.update(by_os.get(name, {}))
    return {**filled, **own}


def check(
    given: Mapping[str, object], defaults: Mapping[str, ParameterValue], what: str
) -> Parameters:
    """Parameters as typed values, or Rejected: unknown name, wrong type, not a choice.

    A value ``"default"`` stays as it is: it takes the setting of this level away.
    """
    checked: Parameters = {}
    for name, value in given.items():
        if name not in defaults and not (name == "memory" and "maxmem" in defaults):
            raise Rejected(
                f"{what} has no parameter {name!r}",
                "known are: " + ", ".join(sorted(defaults)),
            )
        if name == "memory":
            both = "default" if value == "default" else _one(name, value, 128, what)
            checked["maxmem"] = checked["minmem"] = both
        elif value == "default":
            checked[name] = "default"
        else:
            checked[name] = _one(name, value, defaults[name], what)
    return checked


def merge(old: Mapping[str, ParameterValue], new: Mapping[str, ParameterValue]) -> Parameters:
    """``old`` changed by ``new``; the value ``"default"`` removes a setting."""
    merged = {**old, **new}
    return {name: value for name, value in merged.items() if value != "default"}


def _one(name: str, value: object, default: ParameterValue, what: str) -> ParameterValue:
    if name in _MEMORY:
        return sizes.parse(str(value), name)
    if isinstance(default, bool):
        return _boolean(name, value, what)
    if isinstance(default, int | float):
        return _number(name, value, default, what)
    text = "" if value is None else str(value)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise Rejected(
            f"{what}: {name} cannot be {text!r}", "it is one of " + ", ".join(_CHOICES[name])
        )
    if any(ord(character) < 32 for character in text):
        raise Rejected(f"{what}: {name} has a control character in it")
    return names.absolute_path(text, name) if name in _PATHS and text else text


def _boolean(name: str, value: object, what: str) -> bool:
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise Rejected(f"{what}: {name} is yes or no, not {value!r}")
    return text in _TRUE


def _number(name: str, value: object, default: int | float, what: str) -> int | float:
    try:
        number = type(default)(str(value))
    except ValueError:
        raise Rejected(f"{what}: {name} is a number, not {value!r}") from None
    least, most = _RANGES.get(name, (0, _MOST))
    if not math.isfinite(number) or not least <= number <= most:
        raise Rejected(f"{what}: {name} cannot be {value}", f"it is from {least} to {most}")
    return number
