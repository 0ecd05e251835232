"""Installation guests that mean harm, in a real QEMU. None harms its node, or holds it up."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope, os_run
from tests.support import boot_sector
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid
from tests.support.boot_sector import HANG, RESET, for_ever, printed, told
from tests.support.install_image import made_install_image
from tests.support.processes import called

from gantry.agent import configuration
from gantry.model.entities import DiskFormat, DiskTemplate, NicMode
from gantry.model.errors import OperationFailed
from gantry.model.image_orders import ImageWrite
from gantry.model.orders import (
    DiskCreate,
    DiskRemove,
    DiskSpec,
    InstallationGuest,
    Nothing,
    OsInstall,
    ReadGuests,
)
from gantry.model.specs import NicSpec
from gantry.osdefs.running import LOG_FIRST, LOG_LAST
from gantry.ports.agents import Progress
from gantry.rpc.client import HttpAgents

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]
MIB = 1 << 20
FILES = "/srv/ganeti/file-storage"


@pytest.fixture
async def node(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[AgentProcess]:
    made = AgentProcess(tmp_path, ca)
    made.configuration = msgspec.structs.replace(made.configuration, hypervisors=("kvm",))
    configuration.write(made.root, made.configuration)
    await made.start()
    yield made
    await made.close()
    assert not called("qemu-system-x86_64", str(made.root)), "a guest goes on"


def define(node: AgentProcess, script: str) -> None:
    place = node.root / "srv/ganeti/os/apart"
    place.mkdir(parents=True)
    for name in ("create_untrusted", "import", "export", "rename", "verify"):
        body = script if name == "create_untrusted" else "exit 0"
        (place / name).write_text(f"#!/bin/sh\n{body}\n")
        (place / name).chmod(0o755)
    (place / "ganeti_api_version").write_text("20\n")
    (place / "parameters.list").write_text("")


def order(image: Path, *disks: DiskSpec, shutdown: float = 300, memory: int = 192) -> OsInstall:
    run = msgspec.structs.replace(os_run("apart", *disks), hypervisor="kvm")
    guest = InstallationGuest(
        image=str(image), memory=memory, vcpus=1, startup=300.0, shutdown=shutdown
    )
    return OsInstall(run=run, guest=guest)


class Installed(msgspec.Struct):
    """How it ended, and what was shown of it."""

    error: OperationFailed | None = None
    lines: list[str] = []

    @property
    def said(self) -> str:
        return "\n".join(self.lines)


async def install(
    master: HttpAgents, node: AgentProcess, wanted: OsInstall, key: str = "j"
) -> Installed:
    for one in wanted.run.disks:
        await master.order(node.address, envelope(f"{key}/make/{one.index}"), DiskCreate(disk=one))
    found = Installed()

    def line(told: Progress) -> None:
        found.lines.append(told.text)

    sent = envelope(f"{key}/install", timeout=500.0, lease=500.0)
    try:
        assert await master.order(node.address, sent, wanted, line) == Nothing()
    except OperationFailed as error:
        found.error = error
    return found


SECTORS = {
    "it prints without end": (told("started\n"), for_ever(printed("yes\n"))),
    "it prints one line without end": (told("started\n"), for_ever(printed("y"))),
    "it says without end how it is": (for_ever(told("started\n")),),
    "it never ends": (printed("hello\n"), told("started\n"), HANG),
    "it lies and goes on": (told("started\nended 0\n"), HANG),
    "it crashes": (told("started\n"), RESET),
    "it crashes at once": (RESET,),
}


async def test_guests_at_their_worst_are_ended_in_time(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    define(node, "exit 0")
    wanted = {
        what: order(
            boot_sector.write(tmp_path / f"{number}.img", *program),
            disk(f"{FILES}/web{number}/disk0"),
            shutdown=5,
            memory=64,
        )
        for number, (what, program) in enumerate(SECTORS.items())
    }
    ended = asyncio.gather(*(install(master, node, wanted[what], what) for what in wanted))
    while not ended.done():
        began = time.monotonic()
        await master.ask(node.address, ReadGuests(), 60.0)
        assert time.monotonic() - began < 30, "the agent answers meanwhile"
        await asyncio.wait({ended}, timeout=1)
    found = dict(zip(wanted, await ended, strict=True))
    for what, one in found.items():
        assert one.error is not None, what
        how = "did not tell how it ended" if "crashes" in what else "did not end within 5 s of its"
        assert how in one.error.message, (what, one.error.message)
        assert sum(map(len, one.lines)) < 2 * MIB, f"{what}: the job's log is not filled"
    assert "hello" in found["it never ends"].lines
    for log in (node.root / "var/log/ganeti/os").iterdir():
        assert log.stat().st_size < LOG_FIRST + LOG_LAST + MIB
    assert list((node.root / "var/lib/gantry/installing").iterdir()) == []
    # Nobody has the disks any more.
    for what, one_order in wanted.items():
        remove = DiskRemove(disk=one_order.run.disks[0])
        await master.order(node.address, envelope(f"{what}/remove"), remove)
    assert not list((node.root / FILES.strip("/")).rglob("disk0*"))


KINDS = """
echo "reinstalling: $INSTANCE_REINSTALL"
ip link set eth0 up
timeout 120 udhcpc -i eth0 -n -q -t 20 -T 3 -s /bin/true
for number in 0 1 2; do
  eval "disk=\\$DISK_${number}_PATH"
  [ "$(head -c 3 "$disk")" != old ] || echo "disk $number has what it had"
  printf "new$number" > "$disk"
done
"""


async def test_disks_of_every_kind_are_installed_on(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    """In a reinstallation, so that what they had is there; and its network is there, too."""
    old = tmp_path / "old"
    old.write_bytes(b"old".ljust(512, b"\0"))
    define(node, KINDS)
    (node.root / "srv/ganeti/shared-file-storage").mkdir(parents=True)
    disks = (
        msgspec.structs.replace(disk(f"{FILES}/web1/disk0"), format=DiskFormat.QCOW2),
        msgspec.structs.replace(
            disk("/srv/ganeti/shared-file-storage/web1/disk1"),
            index=1,
            template=DiskTemplate.SHAREDFILE,
        ),
        msgspec.structs.replace(
            disk(f"{FILES}/web1/disk2"), index=2, template=DiskTemplate.MIRROR, generation=1
        ),
    )
    nic = NicSpec(uuid=new_uuid(), index=0, mac="aa:00:00:00:00:01", mode=NicMode.USER)
    wanted = msgspec.structs.replace(order(made_install_image(), *disks), reinstall=True)
    wanted = msgspec.structs.replace(wanted, run=msgspec.structs.replace(wanted.run, nics=(nic,)))
    for one in disks:
        await master.order(node.address, envelope(f"j/make/{one.index}"), DiskCreate(disk=one))
        writing = ImageWrite(disk=one, image=str(old), instance=wanted.run.uuid, name="web1")
        sent = envelope(f"j/old/{one.index}", timeout=60.0, lease=60.0)
        await master.order(node.address, sent, writing)
    found = await install(master, node, wanted)
    assert found.error is None
    assert "reinstalling: 1" in found.lines
    assert "udhcpc: lease of 10.0.2.15 obtained" in found.said
    for one in disks:
        assert f"disk {one.index} has what it had" in found.lines
        assert (await content(node, one)).startswith(f"new{one.index}\0".encode())
        assert not list(real(node, one).parent.glob(".*.raw")), "nothing stays beside it"


def real(node: AgentProcess, one: DiskSpec) -> Path:
    return node.root / one.path.strip("/")


async def content(node: AgentProcess, one: DiskSpec) -> bytes:
    plain = node.root / "plain"
    argv = ["qemu-img", "convert", "-f", one.format.value, "-O", "raw"]
    await asyncio.to_thread(
        lambda: subprocess.run([*argv, str(real(node, one)), str(plain)], check=True)
    )
    return plain.read_bytes()


@pytest.fixture
def small_place(node: AgentProcess) -> Iterator[Path]:
    """A directory for disks with room for 20 MiB."""
    place = node.root / FILES.strip("/") / "web1"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


FULL = """
size=$(cat /sys/block/vdb/size)
# Beyond its end, where there might be something of the node's.
dd if=/dev/urandom of="$DISK_0_PATH" bs=512 seek="$size" count=1 conv=notrunc,fsync && echo "BEYOND"
kill -9 1 && echo "the first program goes on"
dd if=/dev/urandom of="$DISK_0_PATH" bs=1M conv=fsync && echo "UNNOTICED"
exit 7
"""


@pytest.mark.root
async def test_a_full_node_is_an_error_that_the_script_sees(
    node: AgentProcess, master: HttpAgents, small_place: Path
) -> None:
    """And not a guest that stands still until somebody makes room."""
    define(node, FULL)
    one = disk(f"{FILES}/web1/disk0", size=16)
    wanted = order(made_install_image(), one)
    await master.order(node.address, envelope("j/make/0"), DiskCreate(disk=one))
    # Room for 2 MiB is left.
    (small_place / "others").write_bytes(bytes(18 * MIB))
    began = time.monotonic()
    found = await install(master, node, wanted)
    assert time.monotonic() - began < 300, "long before the guest's time is over"
    assert found.error is not None
    assert "ended with exit status 7 in its installation guest" in found.error.message
    assert "I/O error" in found.error.message
    assert f"the file system of {small_place}/disk0 is full" in found.error.message
    assert "make room on that file system" in found.error.hint
    assert "the first program goes on" in found.lines
    assert "BEYOND" not in found.said
    assert "UNNOTICED" not in found.said
    await master.order(node.address, envelope("j/remove"), DiskRemove(disk=one))
    assert [each.name for each in small_place.iterdir()] == ["others"]


async def test_a_script_that_brings_its_kernel_down_has_failed(
    node: AgentProcess, master: HttpAgents
) -> None:
    define(node, "echo crashing\necho c > /proc/sysrq-trigger\nsleep 60\nexit 0")
    found = await install(master, node, order(made_install_image(), disk()))
    assert found.error is not None
    assert "the installation guest went off without a word of it" in found.error.message
    assert "crashing" in found.lines
