"""A real kernel, booted directly."""

from __future__ import annotations

import msgspec
import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node, reads
from tests.support.guest_kernel import GuestKernel, guest_kernel

__all__ = ["guest_kernel"]
pytestmark = pytest.mark.qemu


async def test_a_kernel_gets_its_arguments_and_talks_on_the_serial_console(
    node: Node,
    world: KvmWorld,
    guest_kernel: GuestKernel,  # pytest's way of using a fixture
) -> None:
    spec = msgspec.structs.replace(
        world.spec("web1.gantry.test"),
        memory=128,
        hvparams={
            "kernel_path": str(guest_kernel.kernel),
            "initrd_path": str(guest_kernel.initrd),
            "root_path": "/dev/vda",
            "kernel_args": "ro no_timer_check panic=-1",
        },
    )

    await node.driver.start(spec)

    console = await node.driver.console(spec.uuid)
    # It says them twice; a busy machine's emulated serial line now and then loses a character.
    said = await reads(console, b"Kernel command line: ")
    said += await reads(console, b"\n")
    assert b"Linux version" in said
    assert b"root=/dev/vda ro no_timer_check panic=-1 console=ttyS0,38400" in said
