"""Rounds of faults with guests that write to mirrored disks.

pytest tests/redundancy/test_rounds.py -k MIGRATE_KILL     the short round with that alone
pytest tests/redundancy/test_rounds.py --seed 107          that seed's round
pytest tests/redundancy/test_rounds.py -m long             the rounds of 200 seeds, and what is left
"""

from __future__ import annotations

import pytest
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig
from tests.redundancy.plan import Kind, alone, plan

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.timeout(900),
]
SELDOM = (
    Kind.KILL_AGENT,
    Kind.KILL_MASTER,
    Kind.KILL_NODE,
    Kind.KILL_SITE,
    Kind.LOSE_SITE,
    Kind.CUT_PAIR,
    Kind.STOP_START,
    Kind.GROW_AGENT,
    Kind.GROW_CUT,
)
"""Left to the long run: others of the short rounds are much like them."""
MANY = range(100, 300)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given: list[int] | None = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", given if given is not None else MANY)
    else:
        long = {kind: [pytest.mark.long] for kind in SELDOM}
        kinds = [
            pytest.param(kind, id=kind.name, marks=long.get(kind, [])) for kind in reversed(Kind)
        ]
        metafunc.parametrize("kind", kinds)


def test_one_fault(rig: Rig, kind: Kind) -> None:
    rounds.run(rig, kind.name, alone(kind))


@pytest.mark.long
def test_nothing_is_lost_and_nothing_runs_twice(rig: Rig, seed: int) -> None:
    rounds.run(rig, f"seed {seed}", plan(seed))
