"""One cluster for all rounds: it has to survive them one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.redundancy.cluster import Rig
from tests.redundancy.emulated import EmulatedRig
from tests.redundancy.power import PoweredRig
from tests.support.fleet import fleet
from tests.support.guest_kernel import GuestKernel, guest_kernel

__all__ = ["guest_kernel"]
NODES = 3


@pytest.fixture(scope="module")
def rig(guest_kernel: GuestKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Three nodes, two guests with mirrored disks."""
    with _made(Rig, guest_kernel, tmp_path_factory.mktemp("writer")) as found:
        yield found


class ChangingRig(Rig):
    """Disks may be files there, too."""

    TEMPLATES = "mirror,file,diskless"


@pytest.fixture(scope="module")
def changing_rig(
    guest_kernel: GuestKernel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """The same; disks may become files."""
    with _made(ChangingRig, guest_kernel, tmp_path_factory.mktemp("writer")) as found:
        yield found


@pytest.fixture(scope="module")
def powered(guest_kernel: GuestKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The same; a node that is killed has lost its power."""
    with _made(PoweredRig, guest_kernel, tmp_path_factory.mktemp("writer")) as found:
        yield found


@pytest.fixture(scope="module")
def emulated(guest_kernel: GuestKernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The same of machines that are emulated, and one more that has the master."""
    with _made(EmulatedRig, guest_kernel, tmp_path_factory.mktemp("writer"), NODES + 1) as found:
        yield found


@contextmanager
def _made(
    kind: type[Rig], kernel: GuestKernel, directory: Path, nodes: int = NODES
) -> Iterator[Rig]:
    with fleet(nodes) as made:
        found = kind(made)
        try:
            try:
                found.make(kernel, directory)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{found.last_words()}") from None
            yield found
        finally:
            found.close()
