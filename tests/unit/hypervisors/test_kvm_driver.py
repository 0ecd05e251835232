"""What the KVM driver keeps in memory; what it does with guests is in the contract's tests."""

from __future__ import annotations

import asyncio
import gc
import uuid
from pathlib import Path

import pytest

from gantry.hypervisors.kvm import Kvm
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec


def locks() -> int:
    """How many there are in this process."""
    gc.collect()
    return sum(isinstance(one, asyncio.Lock) for one in gc.get_objects())


async def test_guests_that_come_and_go_leave_nothing_in_memory(tmp_path: Path) -> None:
    driver = Kvm(tmp_path, "node1")
    await driver.open(lambda guest: None)
    before = locks()
    for _ in range(20):
        spec = GuestSpec(
            uuid=Uuid(str(uuid.uuid4())),
            name="web1.example.com",
            hypervisor="kvm",
            memory=32,
            vcpus=1,
            hvparams={"kvm_path": str(tmp_path / "no-such-program")},
        )
        with pytest.raises(Rejected, match="cannot run"):
            await driver.start(spec)
    assert locks() == before
    await driver.close()
