"""A real guest with QEMU's guest agent in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node, reads
from tests.integration.kvm.test_snapshot import read
from tests.support import guest_with_agent
from tests.support.guest_kernel import GuestKernel, guest_kernel

from gantry.hypervisors.kvm import Kvm, guest_agent
from gantry.model import timeouts
from gantry.model.orders import GuestSpec

__all__ = ["guest_kernel"]
pytestmark = pytest.mark.qemu
SIZE = 16


def with_agent(world: KvmWorld, kernel: GuestKernel, directory: Path) -> GuestSpec:
    spec = world.spec("web1.gantry.test")
    [disk] = spec.disks
    guest_with_agent.disk(world.root / disk.path.lstrip("/"), SIZE)
    return msgspec.structs.replace(
        spec,
        memory=160,
        disks=(msgspec.structs.replace(disk, size=SIZE),),
        hvparams={
            "kernel_path": str(kernel.kernel),
            "initrd_path": str(guest_with_agent.build(kernel, directory)),
            "root_path": "",
            "kernel_args": "quiet panic=-1",
            "use_guest_agent": True,
        },
    )


async def test_file_systems_are_frozen_for_the_moment_and_go_on(
    node: Node,
    world: KvmWorld,
    tmp_path: Path,
    guest_kernel: GuestKernel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How long a guest takes that is emulated beside others says nothing.
    monkeypatch.setattr(timeouts, "GUEST_AGENT", 60.0)
    monkeypatch.setattr(timeouts, "GUEST_FREEZE", 60.0)
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = with_agent(world, guest_kernel, tmp_path)
    await driver.start(spec)
    console = await driver.console(spec.uuid)
    await reads(console, b"guest-is-ready")
    overlays = {0: str(tmp_path / "overlay")}
    said: list[str] = []
    await driver.open_snapshot(spec.uuid, overlays, say=said.append, mark="a")
    try:
        image = await read(driver, spec.uuid, 0, tmp_path / "copy")
        assert not guest_with_agent.needs_recovery(image), said
        assert "had 1 file systems frozen" in said[0]
        assert not driver_note(world, spec).exists()
    finally:
        await driver.close_snapshot(spec.uuid, overlays, check=True)
    # The guest writes on: what it wrote since is seen within seconds.
    path = world.root / spec.disks[0].path.lstrip("/")
    before = path.read_bytes()
    await until(lambda: path.read_bytes() != before)
    assert guest_with_agent.needs_recovery(path.read_bytes())
    # An agent that died between freeze and thaw is made good by the next one.
    await freeze_and_die(world, spec)
    await node.reopen()
    await until(lambda: not driver_note(world, spec).exists())
    before = path.read_bytes()
    await until(lambda: path.read_bytes() != before)


async def until(so: Callable[[], bool]) -> None:
    """Nobody tells when it is so."""
    for _ in range(1200):
        if so():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("not within two minutes")


def driver_note(world: KvmWorld, spec: GuestSpec) -> Path:
    return world.root / "run/gantry/guests" / spec.uuid / guest_agent.NOTE


async def freeze_and_die(world: KvmWorld, spec: GuestSpec) -> None:
    """As an agent that is killed just then leaves it."""
    note = driver_note(world, spec)
    assert await guest_agent._freeze(note.parent, print) == 1
    assert note.exists()
