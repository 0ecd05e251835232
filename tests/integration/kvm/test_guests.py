"""Real guests with all kinds of disks, NICs, displays and manners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node, reads

from gantry.hypervisors.contract import Console
from gantry.hypervisors.kvm import serial
from gantry.model.entities import DiskFormat, DiskMode, NicMode, ParameterValue
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestState
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec, NicSpec

pytestmark = pytest.mark.qemu


def with_parameters(spec: GuestSpec, **hvparams: ParameterValue) -> GuestSpec:
    return msgspec.structs.replace(spec, hvparams=hvparams)


async def boots(node: Node, spec: GuestSpec) -> None:
    await node.driver.start(spec)
    await reads(await node.driver.console(spec.uuid), b"up")


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("disk_type", ["paravirtual", "ide", "scsi-hd"])
async def test_a_guest_boots_from_every_kind_of_disk(
    node: Node, world: KvmWorld, machine: str, disk_type: str
) -> None:
    spec = world.spec("web1.gantry.test")
    controller = "virtio-scsi-pci"  # the one that the BIOS boots from
    await boots(
        node,
        with_parameters(
            spec,
            disk_type=disk_type,
            machine_version=machine,
            scsi_controller_type=controller,
        ),
    )


@pytest.mark.parametrize("cache", ["default", "none", "writeback", "writethrough"])
async def test_a_guest_boots_from_a_qcow2_disk(node: Node, world: KvmWorld, cache: str) -> None:
    spec = world.spec("web1.gantry.test")
    raw = world.root / spec.disks[0].path.lstrip("/")
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), f"{raw}.qcow2"]
    await asyncio.to_thread(subprocess.run, argv, check=True)
    disk = msgspec.structs.replace(
        spec.disks[0], path=spec.disks[0].path + ".qcow2", format=DiskFormat.QCOW2
    )
    aio = "native" if cache == "none" else "threads"
    spec = with_parameters(spec, disk_cache=cache, disk_aio=aio)

    await boots(node, msgspec.structs.replace(spec, disks=(disk,)))


async def test_a_read_only_disk_boots_and_a_read_only_ide_disk_is_refused(
    node: Node, world: KvmWorld
) -> None:
    spec = world.spec("web1.gantry.test")
    disk = msgspec.structs.replace(spec.disks[0], mode=DiskMode.READ_ONLY)
    spec = msgspec.structs.replace(spec, disks=(disk,))
    with pytest.raises(Rejected, match=r"disk 0 of web1\.gantry\.test is read-only"):
        await node.driver.start(with_parameters(spec, disk_type="ide"))

    await boots(node, spec)


async def test_parameters_of_all_kinds_are_taken_by_qemu(node: Node, world: KvmWorld) -> None:
    spec = with_parameters(
        world.spec("web1.gantry.test"),
        acpi=False,
        use_localtime=True,
        cpu_sockets=1,
        cpu_cores=1,
        cpu_threads=2,
        cpu_type="qemu64",
        mem_path="/dev/shm",
        usb_mouse="tablet",
        vga="cirrus",
        nic_type="e1000",
        disk_discard="unmap",
        kvm_flag="disabled",
        kvm_extra="-boot menu=off",
    )
    nic = NicSpec(
        uuid=Uuid(str(uuid.uuid4())),
        index=0,
        mac="aa:00:00:00:00:01",
        mode=NicMode.USER,
        ip="10.0.2.15",
    )

    await boots(node, msgspec.structs.replace(spec, vcpus=2, nics=(nic,)))

    said: list[str] = []
    await node.driver.stop(spec.uuid, timeout=60, progress=said.append)
    assert said == ["the guest has no power button (acpi=false): it is powered off"]


async def test_qemu_s_own_words_say_why_it_did_not_start(
    node: Node, world: KvmWorld, tmp_path: Path
) -> None:
    kernel = tmp_path / "vmlinuz"
    spec = with_parameters(world.spec("web1.gantry.test"), kernel_path=str(kernel))

    with pytest.raises(OperationFailed, match=f"'{kernel}': No such file") as caught:
        await node.driver.start(spec)
    assert caught.value.node == "node1.gantry.test"

    with pytest.raises(OperationFailed, match="unsupported machine type"):
        await node.driver.start(with_parameters(spec, machine_version="pc-i440fx-99.9"))
    assert node.driver.guests() == ()


async def test_a_failed_start_leaves_what_was_known_before(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    await node.driver.stop(spec.uuid, timeout=1, force=True)
    before = node.driver.guests()
    with pytest.raises(OperationFailed):
        await node.driver.start(with_parameters(spec, kernel_path="/nowhere"))

    assert node.driver.guests() == before
    await node.reopen()
    assert node.driver.guests() == before


async def test_a_display_is_offered_on_its_port(node: Node, world: KvmWorld) -> None:
    spec = with_parameters(world.spec("web1.gantry.test"), vnc_bind_address="127.0.0.1")
    port = _free_port()
    spec = msgspec.structs.replace(spec, network_port=port)
    await node.driver.start(spec)

    address = await node.driver.console_address(spec.uuid)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    assert (await reader.read(4), address.kind) == (b"RFB ", "vnc")
    writer.close()
    await writer.wait_closed()


def _free_port() -> int:
    import socket

    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port > 5900:
                return port


async def test_a_reset_from_inside_ends_a_guest_that_is_to_exit(
    node: Node, world: KvmWorld
) -> None:
    spec = with_parameters(world.spec("web1.gantry.test"), reboot_behavior="exit")
    await boots(node, spec)

    await (await node.driver.console(spec.uuid)).write(b"r")

    await node.until(spec.uuid, GuestState.SHUT_DOWN)


async def test_a_reset_from_inside_boots_it_again(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    console = await _up(node, spec)

    await console.write(b"r")

    await reads(console, b"up")


async def _up(node: Node, spec: GuestSpec) -> Console:
    await node.driver.start(spec)
    console = await node.driver.console(spec.uuid)
    await reads(console, b"up")
    return console


async def test_a_signal_from_outside_is_a_death_with_its_reason(
    node: Node, world: KvmWorld
) -> None:
    guest = await node.driver.start(world.spec("web1.gantry.test"))

    os.kill(guest.pid, signal.SIGTERM)

    died = await node.until(guest.uuid, GuestState.DIED)
    assert "terminating on signal 15" in died.reason
    with pytest.raises(Rejected, match="is not running") as caught:
        await node.driver.reset(guest.uuid)
    assert "it died, and is started again by itself" in caught.value.hint


async def test_the_console_is_logged_while_no_agent_runs(node: Node, world: KvmWorld) -> None:
    spec = world.spec("web1.gantry.test")
    console = await _up(node, spec)
    await console.write(b"f")
    await reads(console, b"..........")
    await node.driver.close()
    log = world.root / "var/log/gantry/console/web1.gantry.test.log"
    before = log.stat().st_size

    await asyncio.to_thread(_wait_for_growth, log, before)
    await node.reopen()

    assert b"...." in await reads(await node.driver.console(spec.uuid), b"....")


def _wait_for_growth(log: Path, before: int) -> None:
    """Until the file is longer; nothing tells it but the file."""
    deadline = time.monotonic() + 20
    while log.stat().st_size <= before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_the_console_log_does_not_grow_for_ever(
    node: Node, world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serial, "LOG_LIMIT", 100_000)
    spec = world.spec("web1.gantry.test")
    console = await _up(node, spec)
    log = world.root / "var/log/gantry/console/web1.gantry.test.log"

    await console.write(b"f")
    async with asyncio.timeout(100):
        async for _ in console.output():
            if log.with_name(log.name + ".1").exists():
                break

    assert log.with_name(log.name + ".1").stat().st_size >= 100_000
    assert log.stat().st_size < 100_000


async def test_ten_guests_start_at_once(node: Node, world: KvmWorld) -> None:
    specs = [world.spec(f"web{number}.gantry.test") for number in range(10)]

    await asyncio.gather(*(node.driver.start(spec) for spec in specs))
    await node.reopen()

    assert [guest.state for guest in node.driver.guests()] == [GuestState.RUNNING] * 10
    await asyncio.gather(*(node.driver.stop(spec.uuid, timeout=20) for spec in specs))
    assert {guest.state for guest in node.driver.guests()} == {GuestState.STOPPED}


async def test_a_bridged_nic_without_networks_is_refused(node: Node, world: KvmWorld) -> None:
    nic = NicSpec(
        uuid=Uuid(str(uuid.uuid4())), index=0, mac="aa:00:00:00:00:01", mode=NicMode.BRIDGED
    )
    spec = msgspec.structs.replace(world.spec("web1.gantry.test"), nics=(nic,))

    with pytest.raises(Rejected, match=r"NIC 0 of web1\.gantry\.test cannot be bridged"):
        await node.driver.start(spec)

    routed = msgspec.structs.replace(nic, mode=NicMode.ROUTED)
    with pytest.raises(Rejected, match="mode routed is not supported yet"):
        await node.driver.start(msgspec.structs.replace(spec, nics=(routed,)))


@pytest.mark.root
@pytest.mark.namespaces
async def test_a_bridged_guest_has_a_tap_for_as_long_as_it_lives(tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("bridged.py")), str(tmp_path)),
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await child.communicate()

    assert (child.returncode, errors.decode()) == (0, "")
    assert json.loads(output) == {"while up": 1, "after its death": 0}
