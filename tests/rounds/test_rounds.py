"""Rounds of faults on machines that share nothing but a wire; a seed replays its round:

pytest tests/rounds --seed 7                     that round, on each store
pytest tests/rounds -m long                      two hundred of them on each store
"""

from __future__ import annotations

import pytest
from tests.rounds import round as rounds
from tests.rounds.cluster import Rig

pytestmark = [pytest.mark.namespaces, pytest.mark.root]
FEW = {
    "sqlite_rig": (0, 5, 7, 9, 12, 13, 14),
    "etcd_rig": (0, 2, 3, 5, 7, 9, 10, 12, 13, 14, 15, 16, 17),
}
"""Twenty in all, most of them with the state in etcd, where another node takes over by itself."""
MANY = range(100, 300)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given: list[int] | None = metafunc.config.getoption("--seed")
    many = [pytest.param(seed, marks=pytest.mark.long) for seed in MANY]
    [few] = [seeds for rig, seeds in FEW.items() if rig in metafunc.fixturenames]
    metafunc.parametrize("seed", given if given is not None else [*few, *many])


def test_nothing_is_lost_with_the_state_in_a_file(sqlite_rig: Rig, seed: int) -> None:
    rounds.run(sqlite_rig, seed)


def test_nothing_is_lost_with_the_state_in_etcd(etcd_rig: Rig, seed: int) -> None:
    rounds.run(etcd_rig, seed)
