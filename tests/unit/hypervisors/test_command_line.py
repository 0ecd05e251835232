from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gantry.hypervisors.kvm import devices
from gantry.hypervisors.kvm.command_line import Accelerator, Handles, Place, build
from gantry.model.entities import DiskFormat, DiskMode, DiskTemplate, NicMode, ParameterValue
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec, NicSpec

GOLDEN = Path(__file__).with_name("golden")
PLACE = Place(
    accelerator=Accelerator.EMULATION,
    machine="pc-i440fx-7.2",
    cpu_model="Westmere-v1",
    root="/",
    console_log="/var/log/gantry/console/web1.gantry.test.log",
)
HANDLES = Handles(monitor=10, serial=11, taps={0: 12})


def disk(index: int, **more: object) -> DiskSpec:
    plain = DiskSpec(
        uuid=Uuid(f"00000000-0000-0000-0000-00000000000{index}"),
        index=index,
        size=1024,
        path=f"/srv/ganeti/file-storage/web1.gantry.test/disk{index}",
        template=DiskTemplate.FILE,
    )
    return msgspec.structs.replace(plain, **more)


def nic(index: int, **more: object) -> NicSpec:
    plain = NicSpec(
        uuid=Uuid(f"10000000-0000-0000-0000-00000000000{index}"),
        index=index,
        mac=f"aa:00:00:00:00:0{index}",
        mode=NicMode.USER,
        ip="10.0.2.15",
    )
    return msgspec.structs.replace(plain, **more)


SPEC = GuestSpec(
    uuid=Uuid("01234567-89ab-cdef-0123-456789abcdef"),
    name="web1.gantry.test",
    hypervisor="kvm",
    memory=128,
    vcpus=1,
)


def spec(**hvparams: ParameterValue) -> GuestSpec:
    return msgspec.structs.replace(SPEC, hvparams=hvparams)


CASES: dict[str, tuple[GuestSpec, Place]] = {
    "disk-boot": (
        msgspec.structs.replace(SPEC, disks=(disk(0),), nics=(nic(0),)),
        PLACE,
    ),
    "kernel-boot": (
        msgspec.structs.replace(
            spec(kernel_path="/boot/vmlinuz", initrd_path="/boot/initrd", root_path="/dev/vda"),
            disks=(disk(0),),
        ),
        msgspec.structs.replace(PLACE, root="/tmp/cluster/node1"),
    ),
    "everything": (
        msgspec.structs.replace(
            spec(
                acpi=False,
                boot_order="cdrom",
                cdrom_image_path="/srv/images/a,b.iso",
                cpu_cores=2,
                cpu_sockets=1,
                cpu_threads=1,
                disk_aio="native",
                disk_cache="none",
                disk_discard="unmap",
                kvm_extra="-msg timestamp=on",
                mem_path="/dev/hugepages",
                reboot_behavior="exit",
                usb_mouse="tablet",
                use_localtime=True,
                vnc_bind_address="::1",
                vnc_password_file="/etc/vnc-password",
                vnc_tls=True,
                vnc_x509_path="/etc/vnc",
                vnc_x509_verify=True,
            ),
            vcpus=2,
            machine="pc-i440fx-6.2",
            cpu_model="Nehalem-v1",
            network_port=5903,
            disks=(disk(0, format=DiskFormat.QCOW2), disk(1, mode=DiskMode.READ_ONLY)),
            nics=(nic(0, mode=NicMode.BRIDGED, link="br0"), nic(1, ip=None)),
        ),
        msgspec.structs.replace(PLACE, accelerator=Accelerator.KVM, vhost=True),
    ),
    "ide-and-rtl8139": (
        msgspec.structs.replace(
            spec(disk_type="ide", nic_type="rtl8139", boot_order="network"),
            disks=(disk(0), disk(1)),
            nics=(nic(0),),
        ),
        PLACE,
    ),
    "scsi-on-q35": (
        msgspec.structs.replace(
            spec(
                disk_type="scsi-hd",
                scsi_controller_type="virtio-scsi-pci",
                machine_version="pc-q35-7.2",
                serial_console=False,
                cdrom_disk_type="scsi-cd",
                cdrom_image_path="/a.iso",
            ),
            disks=(disk(0),),
        ),
        PLACE,
    ),
}


def lines(argv: list[str]) -> str:
    """One option a line, its value beside it."""
    text = ""
    for word in argv:
        text += ("\n" if text and word.startswith("-") else " " if text else "") + word
    return text + "\n"


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_is_as_recorded(case: str) -> None:
    guest, place = CASES[case]

    found = lines(build(guest, place, HANDLES))

    assert found == (GOLDEN / f"{case}.txt").read_text()


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("spice_bind", "127.0.0.1"),
        ("security_model", "pool"),
        ("cpu_mask", "0-1"),
        ("virtio_net_queues", 4),
        ("soundhw", "hda"),
        ("floppy_image_path", "/srv/floppy"),
        ("boot_order", "floppy"),
        ("usb_devices", "1:2"),
        ("use_chroot", True),
        ("disk_type", "sd"),
        ("nic_type", "ne2k_isa"),
        ("kernel_path", "vmlinuz"),
        ("disk_aio", "native"),
        ("vnc_bind_address", "/run/vnc"),
        ("initrd_path", "/boot/initrd"),
        ("no_such_parameter", 1),
    ],
)
def test_a_parameter_that_cannot_be_had_is_refused_by_name(
    parameter: str, value: ParameterValue
) -> None:
    with pytest.raises(Rejected, match=rf"web1\.gantry\.test cannot be run with {parameter}="):
        build(spec(**{parameter: value}), PLACE, HANDLES)


def test_a_display_needs_a_port() -> None:
    with pytest.raises(Rejected, match="cannot offer VNC: its port is None"):
        build(spec(vnc_bind_address="127.0.0.1"), PLACE, HANDLES)


def test_more_drives_than_the_controller_has_places_are_refused() -> None:
    guest = msgspec.structs.replace(
        spec(disk_type="ide"), disks=tuple(disk(index) for index in range(5))
    )
    with pytest.raises(Rejected, match="more than 4 IDE drives"):
        build(guest, PLACE, HANDLES)


def test_a_name_cannot_add_an_option() -> None:
    guest = msgspec.structs.replace(
        SPEC, name="a,b", disks=(disk(0, path='/srv/x",driver=nbd/disk'),)
    )

    argv = build(guest, PLACE, HANDLES)

    assert argv[argv.index("-name") + 1] == "guest=a,,b,debug-threads=on"
    (file,) = (json.loads(word) for word in argv if word.startswith('{"driver":"file"'))
    assert file["filename"] == '/srv/x",driver=nbd/disk'


def test_every_disk_and_nic_keeps_its_slot_whatever_is_beside_it() -> None:
    def slots(guest: GuestSpec) -> dict[str, str]:
        found = [json.loads(word) for word in build(guest, PLACE, HANDLES) if word[0] == "{"]
        return {each["id"]: each["addr"] for each in found if "addr" in each}

    small = msgspec.structs.replace(SPEC, disks=(disk(0),), nics=(nic(0),))
    large = msgspec.structs.replace(small, disks=(disk(0), disk(1), disk(2)), nics=(nic(0), nic(1)))

    assert slots(small).items() <= slots(large).items()
    assert len(set(slots(large).values())) == 5


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        (None, "ipv6=off"),
        ("10.0.2.15", "ipv6=off,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3,dhcpstart=10.0.2.15"),
        ("10.0.2.2", "ipv6=off,net=10.0.2.0/24,host=10.0.2.3,dns=10.0.2.4,dhcpstart=10.0.2.2"),
        ("192.168.7.3", "ipv6=off,net=192.168.7.0/24,host=192.168.7.2,dns=192.168.7.4,"
         "dhcpstart=192.168.7.3"),
    ],
)  # fmt: skip
def test_the_network_of_a_user_nic_gives_it_its_address(ip: str | None, network: str) -> None:
    assert devices.user_network("web1", nic(0, ip=ip)) == network


def test_a_user_nic_can_be_cut_off_from_everything() -> None:
    assert devices.user_network("web1", nic(0, link="isolated")).endswith(",restrict=on")


@pytest.mark.parametrize("ip", ["fe80::1", "10.0.2.0", "10.0.2.255", "web"])
def test_a_user_nic_cannot_have_every_address(ip: str) -> None:
    with pytest.raises(Rejected, match="cannot have the address"):
        devices.user_network("web1", nic(0, ip=ip))


@pytest.mark.parametrize(("machine", "bus"), [("pc-i440fx-7.2", "pci.0"), ("pc-q35-7.2", "pcie.0")])
def test_the_channel_of_the_guest_agent_is_a_device_of_its_own(machine: str, bus: str) -> None:
    wanted = msgspec.structs.replace(spec(use_guest_agent=True), machine=machine)
    argv = build(wanted, PLACE, msgspec.structs.replace(HANDLES, agent=13))
    without = build(msgspec.structs.replace(spec(), machine=machine), PLACE, HANDLES)
    more = [word for word in argv if word not in without]
    assert more[0] == "socket,id=agent,fd=13,server=on,wait=off"
    controller, port = (json.loads(word) for word in more[1:])
    assert (controller["driver"], controller["bus"], controller["addr"]) == (
        "virtio-serial-pci",
        bus,
        "0x1d",
    )
    assert (port["name"], port["chardev"]) == ("org.qemu.guest_agent.0", "agent")
