"""Our image boots under QEMU, says so, and goes down when told: with the real kernel and initrd."""

import time
from pathlib import Path

import pytest
from tests.integration.os_images.booted_guest import (
    USER_NIC,
    booted,
    scsi_disk,
    virtio_disk,
)
from tests.integration.os_images.definition import (
    Definition,
    file_system_is_clean,
    instance,
    look,
)
from tests.support.guest_kernel import GuestKernel

pytestmark = pytest.mark.qemu

SECOND_MAC = "aa:00:00:00:00:02"


def _create(definition: Definition, environment: dict[str, str]) -> None:
    made = definition.run("create", environment, unprivileged=True)
    assert made.status == 0, made.said


async def test_says_its_name_and_address_and_obeys_the_power_button(
    busybox: Definition, disk: Path, guest_kernel: GuestKernel
) -> None:
    _create(busybox, instance(disk, OSP_RUN="echo this runs as $(id -un)"))
    started = time.monotonic()
    async with booted(guest_kernel, "root=/dev/vda", *virtio_disk(disk), *USER_NIC) as guest:
        line = await guest.wait_for("gantry-guest: ")
        print(f"up after {time.monotonic() - started:.2f} s")
        assert line == "gantry-guest: web1.gantry.test is up, address 10.0.2.15 (eth0)"
        await guest.wait_for("this runs as root")
        await guest.press_power_button()
        assert await guest.wait_for("going down") == "gantry-guest: web1.gantry.test is going down"
        status, _ = await guest.wait_for_end()
    assert status == 0
    assert file_system_is_clean(disk)


async def test_a_renamed_guest_has_the_new_name_and_addresses(
    busybox: Definition, disk: Path, guest_kernel: GuestKernel
) -> None:
    _create(busybox, instance(disk))
    renamed = instance(
        disk,
        INSTANCE_NAME="db2.example.org",
        OLD_INSTANCE_NAME="web1.gantry.test",
        NIC_COUNT="2",
        NIC_0_MAC=SECOND_MAC,
        NIC_0_MODE="bridged",
        NIC_0_IP="192.0.2.7",
        NIC_0_NETWORK_SUBNET="192.0.2.0/26",
        NIC_0_NETWORK_GATEWAY="192.0.2.1",
        NIC_1_MAC="AA:00:00:12:34:56",
        NIC_1_MODE="user",
        NIC_1_IP="10.0.2.99",
    )
    done = busybox.run("rename", renamed, unprivileged=True)
    assert done.status == 0, done.said
    second = ("-netdev", "user,id=n1", "-device", f"virtio-net-pci,netdev=n1,mac={SECOND_MAC}")
    devices = (*scsi_disk(disk), *USER_NIC, *second)
    async with booted(guest_kernel, "root=/dev/sda", *devices) as guest:
        line = await guest.wait_for("gantry-guest: ")
        assert line == (
            "gantry-guest: db2.example.org is up, address 192.0.2.7 (eth1), 10.0.2.99 (eth0)"
        )
        await guest.wait_for_prompt()
        # Written so that the echo of what is typed is not taken for the answer.
        await guest.type("echo 't'old: $(hostname -f), $(cat /etc/resolv.conf), $(ip route)")
        told = (await guest.wait_for("told: ")).partition("told: ")[2]
        name, server, route = told.split(", ")
        assert (name, server) == ("db2.example.org", "nameserver 10.0.2.3")
        assert route.startswith("default via 192.0.2.1 dev eth1")
        await guest.type("poweroff")
        await guest.wait_for("db2.example.org is going down")
        status, _ = await guest.wait_for_end()
    assert status == 0


async def test_a_guest_can_ignore_its_power_button_and_be_rebooted_from_inside(
    busybox: Definition, disk: Path, guest_kernel: GuestKernel
) -> None:
    _create(busybox, instance(disk, OSP_SHUTDOWN="ignore", OSP_MOTD="Welcome aboard"))
    async with booted(guest_kernel, "root=/dev/vda", *virtio_disk(disk), *USER_NIC) as guest:
        await guest.wait_for("is up")
        await guest.wait_for("Welcome aboard")
        await guest.press_power_button()
        await guest.wait_for("web1.gantry.test ignores the power button")
        await guest.type("reboot")
        await guest.wait_for("web1.gantry.test is going down for a reboot")
        status, _ = await guest.wait_for_end()
    assert status == 0


async def test_a_guest_without_an_address_asks_for_one(
    busybox: Definition, disk: Path, guest_kernel: GuestKernel
) -> None:
    _create(busybox, instance(disk, NIC_0_MODE="bridged"))
    # QEMU's user network has a DHCP server, which stands for the one of a bridge.
    async with booted(guest_kernel, "root=/dev/vda", *virtio_disk(disk), *USER_NIC) as guest:
        line = await guest.wait_for("is up")
        assert line == "gantry-guest: web1.gantry.test is up, no address"
        line = await guest.wait_for("has got the address")
        assert line == "gantry-guest: web1.gantry.test has got the address 10.0.2.15 (eth0)"


async def test_a_guest_that_was_cut_off_can_be_renamed(
    busybox: Definition, disk: Path, guest_kernel: GuestKernel
) -> None:
    _create(busybox, instance(disk, OSP_RUN="touch /root/mark && sync && echo marked"))
    async with booted(guest_kernel, "root=/dev/vda", *virtio_disk(disk)) as guest:
        line = await guest.wait_for("has no NIC")
        assert line == "gantry-guest: web1.gantry.test has no NIC aa:00:00:12:34:56"
        await guest.wait_for("marked")
        guest.process.kill()
    assert "needs_recovery" in look(disk, "features")
    renamed = instance(disk, INSTANCE_NAME="web2.gantry.test")
    done = busybox.run("rename", renamed, unprivileged=True)
    assert done.status == 0, done.said
    assert look(disk, "cat /etc/hostname") == "web2.gantry.test\n"
    assert "mark" in look(disk, "ls /root")
    assert file_system_is_clean(disk)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("root=/dev/vdz rootwait=1", "no root device /dev/vdz after 1 s; there are: vda"),
        ("root=/dev/vda", "cannot mount /dev/vda as ext4"),
        ("", "no root= on the kernel's command line"),
    ],
)
async def test_the_initrd_says_why_there_is_no_root_and_powers_off(
    disk: Path, guest_kernel: GuestKernel, root: str, message: str
) -> None:
    async with booted(guest_kernel, root, *virtio_disk(disk)) as guest:
        await guest.wait_for(f"gantry-initrd: {message}")
        status, _ = await guest.wait_for_end()
    assert status == 0
