"""When what was counted of mirrored disks may be kept: while nobody writes, and QEMU answers."""

from __future__ import annotations

import pytest

from gantry.hypervisors.kvm.keeping import worth
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.names import Uuid

NODE = Uuid("01234567-89ab-cdef-0123-456789abcdef")
DISK = Uuid("11111111-89ab-cdef-0123-456789abcdef")


def mirror(phase: MirrorPhase, *, released: bool = False) -> MirrorLive:
    return MirrorLive(disk=DISK, node=NODE, phase=phase, released=released)


@pytest.mark.parametrize("status", ["running", "shutdown", "paused", "prelaunch"])
def test_a_guest_that_is_here_alone_is_worth_it(status: str) -> None:
    assert worth([], status)
    assert worth([mirror(MirrorPhase.READY), mirror(MirrorPhase.COPYING)], status)
    assert worth([mirror(MirrorPhase.LOST, released=True)], status)


@pytest.mark.parametrize("status", ["postmigrate", "finish-migrate", "inmigrate", "io-error"])
def test_one_that_another_node_may_have_or_that_is_in_trouble_is_not(status: str) -> None:
    assert not worth([], status)


def test_qemu_is_asked_for_nothing_while_it_may_wait_for_a_lost_replica() -> None:
    assert not worth([mirror(MirrorPhase.READY), mirror(MirrorPhase.LOST)], "shutdown")
