"""Rounds in which nodes are emulated machines that lose their power.

pytest tests/redundancy/test_emulated.py -m long --seed 2       that round
pytest tests/redundancy/test_emulated.py -m long                all of them
"""

from __future__ import annotations

import pytest
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig
from tests.redundancy.emulated import EmulatedRig
from tests.redundancy.plan import EMULATED, plan
from tests.support.volatile_disk import FUSE

pytestmark = [
    pytest.mark.long,
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not FUSE.exists(), reason="this kernel has no FUSE"),
]
MANY = range(12)
PATIENCE = 60.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given: list[int] | None = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", given if given is not None else MANY)


def test_what_was_not_synced_is_gone_with_the_machine(emulated: EmulatedRig) -> None:
    """So the rounds can fail."""
    emulated.calm()
    number = emulated.fleet.numbers[-1]
    node, root = emulated.node(number), emulated.fleet.machine(number).root
    for name, synced in (("kept", True), ("lost", False)):
        assert node.ask("write", str(root / name), name, synced, patience=PATIENCE)
    emulated.kill_all(number)
    emulated.come_back(number)
    emulated.calm()
    found = [node.ask("read", str(root / name), patience=PATIENCE) for name in ("kept", "lost")]
    assert found == ["kept", ""]


def test_nothing_is_lost_with_a_whole_machine(emulated: Rig, seed: int) -> None:
    rounds.run(emulated, f"seed {seed}", plan(seed, EMULATED, EMULATED))
