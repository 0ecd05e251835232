"""Scripts that are not trusted run in a real guest, with the instance's disks and no others."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope, os_run
from tests.support.agent_process import AgentProcess, TestAuthority
from tests.support.cluster import eventually
from tests.support.install_image import made_install_image

from gantry.agent import configuration
from gantry.model.errors import Interrupted, OperationFailed, Rejected, Unavailable
from gantry.model.orders import DiskCreate, DiskSpec, InstallationGuest, OsInstall, OsRun
from gantry.ports.agents import Progress
from gantry.rpc.client import HttpAgents

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]
SCRIPT = """
echo "installing $INSTANCE_NAME with $OSP_WORD on $DISK_COUNT disks"
printf %s "$OSP_WORD" > "$DISK_0_PATH"
. parts/second
# Neither of these may change anything on the node.
echo overwritten > /dev/vda || true
echo overwritten > /dev/vdd || echo "the package cannot be written to"
ls /dev/vd? /sys/class/net
exit "$OSP_STATUS"
"""


@pytest.fixture(scope="session")
def image() -> Path:
    return made_install_image()


@pytest.fixture
async def node(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[AgentProcess]:
    made = AgentProcess(tmp_path, ca)
    made.configuration = msgspec.structs.replace(made.configuration, hypervisors=("kvm",))
    configuration.write(made.root, made.configuration)
    definition(made)
    await made.start()
    yield made
    await made.close()


def definition(node: AgentProcess) -> None:
    place = node.root / "srv/ganeti/os/apart"
    (place / "parts").mkdir(parents=True)
    (place / "parts/second").write_text('echo second > "$DISK_1_PATH"\n')
    for script, body in {
        "create_untrusted": SCRIPT,
        **dict.fromkeys(("import", "export", "rename", "verify"), "exit 0\n"),
    }.items():
        (place / script).write_text(f"#!/bin/sh\n{body}")
        (place / script).chmod(0o755)
    (place / "ganeti_api_version").write_text("20\n")
    (place / "parameters.list").write_text("status which\nword which\n")


def order(image: Path, disks: tuple[DiskSpec, ...], status: int = 0) -> OsInstall:
    run = msgspec.structs.replace(
        os_run("apart", *disks), hypervisor="kvm", parameters={"status": str(status)}
    )
    guest = InstallationGuest(image=str(image), memory=192, vcpus=1, startup=300.0, shutdown=300.0)
    return OsInstall(run=run, guest=guest)


async def made(master: HttpAgents, node: AgentProcess) -> tuple[DiskSpec, ...]:
    disks = tuple(
        msgspec.structs.replace(disk(f"/srv/ganeti/file-storage/web1/disk{number}"), index=number)
        for number in range(2)
    )
    for one in disks:
        await master.order(node.address, envelope(f"j/{one.index}"), DiskCreate(disk=one))
    return disks


def qemus(run: OsRun) -> list[int]:
    """Processes that install this instance."""
    mark = f"INSTANCE_UUID={run.uuid}".encode()
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdigit() and mark in (each / "environ").read_bytes().split(b"\0"):
                found.append(int(each.name))
        except OSError:
            continue
    return found


async def test_the_guest_installs_on_the_instances_disks_alone(
    node: AgentProcess, master: HttpAgents, image: Path
) -> None:
    before = hashlib.sha256(image.read_bytes()).digest()
    disks = await made(master, node)
    lines: list[Progress] = []
    sent = envelope("j/install", timeout=500.0, lease=500.0, secrets={"word": "s3cret"})
    with pytest.raises(OperationFailed) as caught:
        await master.order(node.address, sent, order(image, disks, status=7), lines.append)
    assert "create_untrusted ended with exit status 7 in its" in caught.value.message
    content = [(node.root / one.path.lstrip("/")).read_bytes() for one in disks]
    assert content[0].startswith(b"s3cret\0")
    assert content[1].startswith(b"second\n\0")
    said = "\n".join(line.text for line in lines)
    assert "installing web1.example.com with <redacted> on 2 disks" in said
    assert "the package cannot be written to" in said
    # Its image, the two disks, the package; and no network, since the instance has none.
    assert "/dev/vdd" in said
    assert "/dev/vde" not in said
    assert "eth0" not in said
    assert hashlib.sha256(image.read_bytes()).digest() == before
    [log] = (node.root / "var/log/ganeti/os").iterdir()
    assert "installing web1.example.com" in log.read_text()
    assert list((node.root / "var/lib/gantry/installing").iterdir()) == []


async def test_a_guest_whose_agent_dies_is_ended(
    node: AgentProcess, master: HttpAgents, image: Path
) -> None:
    disks = await made(master, node)
    wanted = order(image, disks)
    sent = envelope("j/install", timeout=500.0, lease=500.0)
    installing = asyncio.ensure_future(master.order(node.address, sent, wanted))
    await asyncio.to_thread(eventually, "a guest", lambda: bool(qemus(wanted.run)), 60)
    await node.kill()
    with pytest.raises(Unavailable):
        await installing
    await node.start()
    with pytest.raises(Interrupted):
        await master.order(node.address, envelope("j/install", timeout=60.0), wanted)
    await asyncio.to_thread(eventually, "its end", lambda: not qemus(wanted.run), 60)


async def test_an_image_that_cannot_be_used_is_refused(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    disks = await made(master, node)
    with pytest.raises(Rejected, match="cannot be read on node node1"):
        await master.order(node.address, envelope("k/1"), order(tmp_path / "none", disks))
    half = tmp_path / "half.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(half)]
    await asyncio.to_thread(lambda: subprocess.run(argv, check=True, env=dict(os.environ)))
    with pytest.raises(Rejected, match="builds on another file"):
        await master.order(node.address, envelope("k/2"), order(half, disks))
