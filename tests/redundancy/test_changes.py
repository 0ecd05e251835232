"""Rounds in which something is changed, and something goes wrong meanwhile.

pytest tests/redundancy/test_changes.py -m "not long"     the short rounds
pytest tests/redundancy/test_changes.py --seed 7          that seed's round
pytest tests/redundancy/test_changes.py -m long           the rounds of all seeds
"""

from __future__ import annotations

import logging

import pytest
from tests.redundancy import changed
from tests.redundancy import round as rounds
from tests.redundancy.changes import Change, Draw, Harm, alone, plan
from tests.redundancy.cluster import Rig
from tests.redundancy.round import Turn

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.timeout(900),
]
MANY = range(len(Change) * 4)
SHORT = ((Change.TO_FILE, Harm.MASTER), (Change.REPLACE_NEW, Harm.AGENT))
"""In every run of the tests."""
_log = logging.getLogger(__name__)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given: list[int] | None = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", given if given is not None else MANY)


def _run(rig: Rig, what: str, draw: Draw) -> None:
    _log.info("%s: %s", what, draw)
    turn = Turn(after=draw.after, do=lambda found: changed.carry_out(found, draw))
    try:
        rounds.around(rig, what, [turn], changed.guests(rig, draw))
    except AssertionError as error:
        _log.error("%s", error)
        raise


@pytest.mark.parametrize(
    ("change", "harm"),
    [pytest.param(*both, id="-".join(one.name for one in both)) for both in SHORT],
)
def test_one_change(changing_rig: Rig, change: Change, harm: Harm) -> None:
    _run(changing_rig, f"{change.name} {harm.name}", alone(change, harm))


@pytest.mark.long
def test_it_happens_wholly_or_not_at_all(changing_rig: Rig, seed: int) -> None:
    _run(changing_rig, f"seed {seed}", plan(seed))
