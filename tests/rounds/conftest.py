"""One cluster for all rounds of a store: it has to survive them one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.rounds.cluster import Kept, Rig
from tests.support.fleet import fleet

NODES = 5
"""So that a minority can be more than one."""


def _rig(kept: Kept) -> Iterator[Rig]:
    with fleet(NODES) as made:
        rig = Rig(made, kept)
        rig.make()
        yield rig


@pytest.fixture(scope="module")
def sqlite_rig() -> Iterator[Rig]:
    """A master on node1 alone, its state in a file."""
    yield from _rig(Kept.SQLITE)


@pytest.fixture(scope="module")
def etcd_rig() -> Iterator[Rig]:
    """Three candidates, the state in three members of etcd."""
    yield from _rig(Kept.ETCD)
