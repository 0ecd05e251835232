"""The command line of QEMU, out of a guest's specification. Pure: values in, list out.

No value of a user gets into an option where it could add another one: what may hold any
character is passed as JSON or with its commas doubled.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from gantry.hypervisors.kvm import devices, supported
from gantry.model.entities import ParameterValue
from gantry.model.errors import Rejected
from gantry.model.orders import GuestSpec

VNC_BASE_PORT = 5900
"""The port of display 0 (RFC 6143, section 8)."""


BARE: Final = ("-no-user-config", "-nodefaults")
"""No devices but those that are named."""
SANDBOX: Final = (
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
)
"""No system calls that QEMU does not need."""


class Accelerator(enum.StrEnum):
    """What executes the guest's instructions."""

    KVM = "kvm"
    EMULATION = "tcg"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What the node contributes. ``machine`` and ``cpu_model`` where the guest pins none."""

    accelerator: Accelerator
    machine: str
    cpu_model: str
    root: str
    console_log: str
    vhost: bool = False


class Handles(msgspec.Struct, frozen=True, kw_only=True):
    """Open files that QEMU inherits: listening sockets, and taps by NIC index."""

    monitor: int
    serial: int
    taps: dict[int, int] = {}
    agent: int | None = None
    incoming: bool = False
    """Not a handle: whether the guest comes from another node, to be told where later."""


def build(spec: GuestSpec, place: Place, handles: Handles) -> list[str]:
    """The whole command; Rejected where the specification cannot be run."""
    values = supported.check(spec.name, spec.hvparams)
    machine = str(values["machine_version"]) or spec.machine or place.machine
    buses = devices.Buses(machine)
    return [
        str(values["kvm_path"]),
        *_identity(spec),
        *_machine(spec, values, place, machine),
        *_boot(values),
        *_monitor(handles),
        *_serial(values, place, handles),
        *devices.guest_agent(handles.agent, buses),
        *_display(spec, values, buses),
        *devices.disks(spec.name, spec.disks, values, place.root, buses),
        *devices.removable(spec.name, values, buses, _has_scsi(spec, values)),
        *networks(spec, values, place, handles, buses),
        *(("-incoming", "defer") if handles.incoming else ()),
        *str(values["kvm_extra"]).split(),
    ]


def _identity(spec: GuestSpec) -> list[str]:
    return [
        "-name",
        f"guest={escape(spec.name)},debug-threads=on",
        "-uuid",
        spec.uuid,
        *BARE,
        "-S",
        *SANDBOX,
    ]


def _machine(
    spec: GuestSpec, values: Mapping[str, ParameterValue], place: Place, machine: str
) -> list[str]:
    acpi = "on" if values["acpi"] else "off"
    options = f"{escape(machine)},usb=off,dump-guest-core=off,acpi={acpi}"
    argv: list[str] = []
    if values["mem_path"]:
        memory = {
            "qom-type": "memory-backend-file",
            "id": "memory",
            "size": spec.memory * 1024 * 1024,
            "mem-path": values["mem_path"],
            "prealloc": True,
        }
        argv += ["-object", devices.encode(memory)]
        options += ",memory-backend=memory"
    accelerator = "kvm" if place.accelerator is Accelerator.KVM else "tcg,tb-size=32"
    cpu = str(values["cpu_type"]) or spec.cpu_model or place.cpu_model
    # The guest's own power-off leaves QEMU paused, so that it can be told from a crash
    # even when no agent was there to see it.
    action = "shutdown=pause,reboot=" + ("reset" if _reboots(values) else "shutdown")
    clock = "localtime" if values["use_localtime"] else "utc"
    return [
        *argv,
        *("-machine", options),
        *("-accel", accelerator),
        *("-cpu", cpu),
        *("-smp", _topology(spec, values)),
        *("-m", f"{spec.memory}M"),
        *("-action", action),
        *("-rtc", f"base={clock}"),
    ]


def _reboots(values: Mapping[str, ParameterValue]) -> bool:
    return values["reboot_behavior"] == "reboot"


def _topology(spec: GuestSpec, values: Mapping[str, ParameterValue]) -> str:
    parts = [f"cpus={spec.vcpus}"]
    for name in ("sockets", "cores", "threads"):
        if values[f"cpu_{name}"]:
            parts.append(f"{name}={values[f'cpu_{name}']}")
    return ",".join(parts)


def _boot(values: Mapping[str, ParameterValue]) -> list[str]:
    if not values["kernel_path"]:
        return ["-boot", "strict=on"]
    words = [f"root={values['root_path']}"] if values["root_path"] else []
    words += [str(values["kernel_args"])]
    if values["serial_console"]:
        words.append(f"console=ttyS0,{values['serial_speed']}")
    argv = ["-kernel", str(values["kernel_path"]), "-append", " ".join(filter(None, words))]
    return argv + (["-initrd", str(values["initrd_path"])] if values["initrd_path"] else [])


def _monitor(handles: Handles) -> list[str]:
    chardev = f"socket,id=monitor,fd={handles.monitor},server=on,wait=off"
    return ["-chardev", chardev, "-mon", "chardev=monitor,mode=control"]


def _serial(values: Mapping[str, ParameterValue], place: Place, handles: Handles) -> list[str]:
    if not values["serial_console"]:
        return []
    log = f"logfile={escape(place.console_log)},logappend=on"
    chardev = f"socket,id=serial,fd={handles.serial},server=on,wait=off,{log}"
    device = {"driver": "isa-serial", "id": "serial0", "chardev": "serial"}
    return ["-chardev", chardev, "-device", devices.encode(device)]


def _display(
    spec: GuestSpec, values: Mapping[str, ParameterValue], buses: devices.Buses
) -> list[str]:
    address = str(values["vnc_bind_address"])
    models = {"std": "VGA", "cirrus": "cirrus-vga", "virtio": "virtio-vga"}
    models |= {"vmware": "vmware-svga", "qxl": "qxl-vga"}
    kind = str(values["vga"]) or ("std" if address else "none")
    argv = ["-display", "none"]
    if address:
        argv = _vnc(spec, values, address)
    if kind != "none":
        device = {"driver": models[kind], "id": "vga0", **buses.slot(devices.VGA_SLOT)}
        argv += ["-device", devices.encode(device)]
    if values["usb_mouse"]:
        usb = {"driver": "piix3-usb-uhci", "id": "usb", **buses.slot(devices.USB_SLOT)}
        argv += ["-device", devices.encode(usb)]
        mouse = {"driver": f"usb-{values['usb_mouse']}", "bus": "usb.0"}
        argv += ["-device", devices.encode(mouse)]
    if values["keymap"]:
        argv += ["-k", str(values["keymap"])]
    return argv


def _vnc(spec: GuestSpec, values: Mapping[str, ParameterValue], address: str) -> list[str]:
    if spec.network_port is None or spec.network_port < VNC_BASE_PORT:
        raise Rejected(
            f"{spec.name} cannot offer VNC: its port is {spec.network_port}",
            f"it needs a network port of {VNC_BASE_PORT} or above",
            object_name=spec.name,
        )
    host = f"[{address}]" if ":" in address else escape(address)
    display = f"{host}:{spec.network_port - VNC_BASE_PORT}"
    argv: list[str] = []
    if values["vnc_password_file"]:
        secret = {"qom-type": "secret", "id": "vnc", "file": values["vnc_password_file"]}
        argv += ["-object", devices.encode(secret)]
        display += ",password-secret=vnc"
    if values["vnc_tls"]:
        credentials: dict[str, object] = {"qom-type": "tls-creds-anon", "id": "vnc-tls"}
        if values["vnc_x509_path"]:
            credentials |= {"qom-type": "tls-creds-x509", "dir": values["vnc_x509_path"]}
            credentials |= {"verify-peer": values["vnc_x509_verify"]}
        argv += ["-object", devices.encode({**credentials, "endpoint": "server"})]
        display += ",tls-creds=vnc-tls"
    return [*argv, "-vnc", display]


def _has_scsi(spec: GuestSpec, values: Mapping[str, ParameterValue]) -> bool:
    return bool(spec.disks) and values["disk_type"] == "scsi-hd"


def networks(
    spec: GuestSpec,
    values: Mapping[str, ParameterValue],
    place: Place,
    handles: Handles,
    buses: devices.Buses,
) -> list[str]:
    """All NICs."""
    argv = devices.nics(spec.name, spec.nics, values, handles.taps, buses)
    if not (place.vhost and values["vhost_net"] and values["nic_type"] == "paravirtual"):
        return argv
    return [f"{word},vhost=on" if word.startswith("tap,") else word for word in argv]


def escape(text: str) -> str:
    """A value inside an option's list: a comma is written twice."""
    return text.replace(",", ",,")
