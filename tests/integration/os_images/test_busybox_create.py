"""The busybox definition's create: what it makes, and what it refuses without touching a disk."""

import re
from pathlib import Path

import pytest
from tests.integration.os_images.definition import (
    Definition,
    file_system_is_clean,
    instance,
    look,
    without,
)


def _last_write(path: Path) -> tuple[int, int]:
    return (path.stat().st_mtime_ns, path.stat().st_blocks)


@pytest.mark.parametrize("unprivileged", [False, True])
def test_fills_the_disk_with_files_that_belong_to_root(
    busybox: Definition, disk: Path, unprivileged: bool
) -> None:
    made = busybox.run("create", instance(disk), unprivileged=unprivileged)
    assert made.status == 0, made.said
    assert disk.stat().st_size == 256 << 20
    assert disk.stat().st_blocks * 512 < 16 << 20
    assert file_system_is_clean(disk)
    assert look(disk, "cat /etc/hostname") == "web1.gantry.test\n"
    for path in ("/", "/sbin/init", "/bin/busybox", "/bin/sh", "/etc/gantry/nics", "/root"):
        assert re.search(r"User:\s+0\s+Group:\s+0\s", look(disk, f"stat {path}")), path
    assert "Mode:  0755" in look(disk, "stat /bin/busybox")
    assert "Mode:  0644" in look(disk, "stat /etc/gantry/nics")
    assert "Mode:  01777" in look(disk, "stat /tmp")


def test_makes_the_disk_anew_on_a_reinstall(busybox: Definition, disk: Path) -> None:
    assert busybox.run("create", instance(disk, OSP_MOTD="before")).status == 0
    again = instance(disk, INSTANCE_REINSTALL="1", INSTANCE_NAME="web2.gantry.test")
    assert busybox.run("create", again).status == 0
    assert look(disk, "cat /etc/hostname") == "web2.gantry.test\n"
    assert look(disk, "cat /etc/motd") == ""


def test_leaves_nothing_in_the_temporary_directory(busybox: Definition, disk: Path) -> None:
    temporary = disk.parent / "tmp"
    temporary.mkdir()
    busybox.run("create", instance(disk, TMPDIR=str(temporary)))
    busybox.run("rename", instance(disk, TMPDIR=str(temporary)))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("nic", "line"),
    [
        ({"MODE": "user"}, "static 10.0.2.15/24 10.0.2.2 10.0.2.3"),
        ({"MODE": "user", "IP": "10.9.8.7"}, "static 10.9.8.7/24 10.9.8.2 10.9.8.3"),
        ({"MODE": "bridged"}, "dhcp - - -"),
        ({"MODE": "bridged", "IP": "192.0.2.5"}, "static 192.0.2.5/24 - -"),
        (
            {
                "MODE": "bridged",
                "IP": "192.0.2.5",
                "NETWORK_SUBNET": "192.0.2.0/28",
                "NETWORK_GATEWAY": "192.0.2.1",
            },
            "static 192.0.2.5/28 192.0.2.1 -",
        ),
        ({"MODE": "routed", "IP": "192.0.2.5"}, "static 192.0.2.5/32 link -"),
        (
            {
                "MODE": "bridged",
                "IP": "2001:db8::5",
                "NETWORK_SUBNET6": "2001:db8::/56",
                "NETWORK_GATEWAY6": "2001:db8::1",
            },
            "static 2001:db8::5/56 2001:db8::1 -",
        ),
    ],
)
def test_tells_the_guest_how_to_set_its_nic(
    busybox: Definition, disk: Path, nic: dict[str, str], line: str
) -> None:
    environment = instance(disk, **{f"NIC_0_{name}": value for name, value in nic.items()})
    made = busybox.run("create", environment)
    assert made.status == 0, made.said
    assert look(disk, "cat /etc/gantry/nics") == f"aa:00:00:12:34:56 {line}\n"


def test_hands_the_parameters_on_as_they_are(busybox: Definition, disk: Path) -> None:
    text = "first $(id) `id` 'line'\nsecond \\n line"
    parameters = {
        "OSP_MOTD": text,
        "OSP_RUN": text,
        "OSP_NAMESERVER": "192.0.2.53,2001:db8::53",
        "OSP_SHUTDOWN": "ignore",
    }
    made = busybox.run("create", instance(disk, **parameters))
    assert made.status == 0, made.said
    assert look(disk, "cat /etc/motd") == f"{text}\n"
    assert look(disk, "cat /etc/gantry/run") == f"{text}\n"
    assert look(disk, "cat /etc/gantry/nameservers") == "192.0.2.53\n2001:db8::53\n"
    assert look(disk, "cat /etc/gantry/shutdown") == "ignore\n"
    assert text not in made.said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"DISK_COUNT": "0"}, "the instance has no disk"),
        ({"DISK_COUNT": "many"}, "DISK_COUNT is not set to a number"),
        ({"DISK_0_PATH": ""}, "DISK_0_PATH is not set"),
        ({"DISK_0_PATH": "/nowhere/disk"}, "the disk /nowhere/disk (DISK_0_PATH) does not exist"),
        ({"DISK_0_PATH": "/tmp"}, "the disk /tmp (DISK_0_PATH) is neither a file nor"),
        ({"DISK_0_PATH": "/dev/null"}, "the disk /dev/null (DISK_0_PATH) is neither a file nor"),
        ({"INSTANCE_NAME": ""}, "INSTANCE_NAME is not set"),
        ({"INSTANCE_NAME": "../x"}, "INSTANCE_NAME '../x' is not a host name"),
        ({"INSTANCE_NAME": "a b"}, "INSTANCE_NAME 'a b' is not a host name"),
        ({"INSTANCE_NAME": "x\ny"}, "is not a host name"),
        ({"INSTANCE_NAME": "a" * 254}, "is not a host name"),
        ({"OS_VARIANT": "huge"}, "there is no variant 'huge'"),
        ({"OSP_SHUTDOWN": "never"}, "parameter shutdown: 'never' is not known"),
        ({"NIC_COUNT": "x"}, "NIC_COUNT 'x' is not a number"),
        ({"NIC_0_MAC": "aa:bb"}, "NIC_0_MAC 'aa:bb' is not a MAC address"),
        ({"NIC_0_IP": "10.0.2.999"}, "NIC_0_IP '10.0.2.999' is not an IP address"),
        ({"NIC_0_NETWORK_GATEWAY": "gw"}, "NIC_0_NETWORK_GATEWAY 'gw' is not an IP address"),
        ({"PATH": "/nowhere"}, "cannot find the program"),
    ],
)
def test_refuses_bad_input_and_leaves_the_disk_alone(
    busybox: Definition, disk: Path, change: dict[str, str], message: str
) -> None:
    before = _last_write(disk)
    made = busybox.run("create", instance(disk) | change)
    assert made.status == 1
    assert message in made.stderr
    assert made.stderr.startswith("busybox: ")
    assert _last_write(disk) == before


@pytest.mark.parametrize("name", ["DISK_COUNT", "DISK_0_PATH", "INSTANCE_NAME"])
def test_refuses_to_run_without_a_variable_of_the_interface(
    busybox: Definition, disk: Path, name: str
) -> None:
    made = busybox.run("create", without(instance(disk), name))
    assert made.status == 1
    assert f"{name} is not set" in made.stderr


def test_takes_a_disk_of_16_mib_and_none_smaller(busybox: Definition, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate((16 << 20) - 1)
    made = busybox.run("create", instance(disk))
    assert made.status == 1
    assert f"the disk {disk} is too small: it has 16383 KiB, this OS needs 16 MiB" in made.stderr
    with disk.open("r+b") as file:
        file.truncate(16 << 20)
    assert busybox.run("create", instance(disk)).status == 0
    assert file_system_is_clean(disk)


def test_says_when_the_disk_cannot_be_written(busybox: Definition, disk: Path) -> None:
    disk.chmod(0o444)
    made = busybox.run("create", instance(disk), unprivileged=True)
    assert made.status == 1
    assert f"the disk {disk} cannot be written by the user nobody" in made.stderr


def test_an_older_interface_without_parameters_will_do(busybox: Definition, disk: Path) -> None:
    environment = without(instance(disk, OS_API_VERSION="10", OS_VARIANT=""), "NIC_COUNT")
    made = busybox.run("create", environment)
    assert made.status == 0, made.said
    assert look(disk, "cat /etc/gantry/nics") == ""
