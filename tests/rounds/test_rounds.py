"""Rounds of faults on machines that share nothing but a wire; a seed replays its round:

pytest tests/rounds --seed 7                     that round, on each store
pytest tests/rounds -m long                      two hundred of them on each store
"""

from __future__ import annotations

import pytest
from tests.rounds import round as rounds
from tests.rounds.cluster import Rig

pytestmark = [pytest.mark.namespaces, pytest.mark.root, pytest.mark.timeout(600)]
FEW = range(1, 11)
MANY = range(100, 300)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given: list[int] | None = metafunc.config.getoption("--seed")
    many = [pytest.param(seed, marks=pytest.mark.long) for seed in MANY]
    metafunc.parametrize("seed", given if given is not None else [*FEW, *many])


def test_nothing_is_lost_with_the_state_in_a_file(sqlite_rig: Rig, seed: int) -> None:
    rounds.run(sqlite_rig, seed)


def test_nothing_is_lost_with_the_state_in_etcd(etcd_rig: Rig, seed: int) -> None:
    rounds.run(etcd_rig, seed)
