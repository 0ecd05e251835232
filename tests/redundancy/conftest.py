"""One cluster for all rounds: it has to survive them one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.redundancy.cluster import Rig
from tests.support.fleet import fleet
from tests.support.guest_kernel import GuestKernel, guest_kernel

__all__ = ["guest_kernel"]
NODES = 3


@pytest.fixture(scope="session")
def rig(guest_kernel: GuestKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Three nodes, two guests with mirrored disks."""
    with fleet(NODES) as made:
        found = Rig(made)
        try:
            try:
                found.make(guest_kernel, tmp_path_factory.mktemp("writer"))
            except AssertionError as error:
                raise AssertionError(f"{error}\n{found.last_words()}") from None
            yield found
        finally:
            for number in made.numbers:
                found.kill_all(number)
