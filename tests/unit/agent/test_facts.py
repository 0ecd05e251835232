"""Which changes of a node's facts are worth telling."""

from __future__ import annotations

import importlib.metadata

import msgspec
import pytest

from gantry.agent.facts import matters, version
from gantry.model.live import NodeFacts

OLD = NodeFacts(
    boot_id="b", memory_total=10000, memory_free=5000, disk_total=100000, disk_free=50000, clock=1.0
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"clock": 61.0}, False),
        ({"memory_free": 4900}, False),
        ({"memory_free": 4700}, True),
        ({"disk_free": 49000}, False),
        ({"disk_free": 40000}, True),
        ({"memory_node": 500}, True),
        ({"cpus": 8}, True),
        ({"bridges": ("br0",)}, True),
        ({"boot_id": "c"}, True),
        ({"certificate_expires": 5.0}, True),
    ],
)
def test_a_change_is_told_when_it_matters(change: dict[str, object], told: bool) -> None:
    new = msgspec.structs.replace(OLD, **change)
    assert matters(OLD, new) is told


def test_the_version_is_that_of_the_installed_package() -> None:
    assert version() == importlib.metadata.version("gantry-cluster")
