"""Rounds in which nodes lose their power: what was not synced to their disks is gone.

pytest tests/redundancy/test_power.py --seed 2       that round
pytest tests/redundancy/test_power.py -m long        all the others

The disks are volatile ones (``tests/support/volatile_disk.py``) under namespaces: the page cache of
a node is lost and the cache of its disk, in seconds. ``test_emulated.py`` takes whole machines.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.redundancy import round as rounds
from tests.redundancy.cluster import Rig
from tests.redundancy.plan import POWER, Kind, alone, plan
from tests.support.volatile_disk import FUSE, VolatileDisk

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.root,
    pytest.mark.qemu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not FUSE.exists(), reason="this kernel has no FUSE"),
]
MANY = range(20)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given: list[int] | None = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", given if given is not None else MANY)


def test_all_nodes_lose_their_power_and_one_stays_away(powered: Rig) -> None:
    rounds.run(powered, "loss of power", alone(Kind.LOSE_SITE))


@pytest.mark.long
def test_nothing_is_lost_with_the_power(powered: Rig, seed: int) -> None:
    rounds.run(powered, f"seed {seed}", plan(seed, POWER))


def test_what_was_not_synced_is_gone(tmp_path: Path) -> None:
    """So the rounds can fail."""
    root = tmp_path / "root"
    root.mkdir()
    disk = VolatileDisk(root, tmp_path / "d", "64M")
    try:
        disk.switch_on()
        _write(root / "old", b"old", sync=True)
        disk.keep()
        _write(root / "old", b"new", sync=False)
        _write(root / "kept", b"kept", sync=True)
        disk.lose_power()
        disk.rest()
        disk.switch_on()

        assert (root / "old").read_bytes() == b"old"
        assert (root / "kept").read_bytes() == b"kept"
    finally:
        disk.close()


def _write(path: Path, content: bytes, *, sync: bool) -> None:
    with path.open("r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.flush()
        if sync:
            os.fsync(file)
