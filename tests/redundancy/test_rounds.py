"""Rounds of faults with guests that write to mirrored disks; a seed replays its round:

pytest tests/redundancy --seed 7                 that round
pytest tests/redundancy -m long                  all the others
"""

from __future__ import annotations

import pytest
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.timeout(900),
]
FEW = (1, 5, 6, 8, 10, 11, 12, 13)
"""Each begins with another fault."""
MANY = (*(seed for seed in range(20) if seed not in FEW), *range(100, 300))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given: list[int] | None = metafunc.config.getoption("--seed")
    many = [pytest.param(seed, marks=pytest.mark.long) for seed in MANY]
    metafunc.parametrize("seed", given if given is not None else [*FEW, *many])


def test_nothing_is_lost_and_nothing_runs_twice(rig: Rig, seed: int) -> None:
    rounds.run(rig, seed)
