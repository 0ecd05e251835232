"""The sample hooks on a real cluster: pushed as they are, then switched on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.cluster import Cluster

SAMPLES = Path(__file__).parents[2] / "examples/hooks"
WEB = "web1.gantry.test"


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """A site's own copy; nothing of it stays on the nodes."""
    made = tmp_path / "hooks"
    shutil.copytree(SAMPLES, made, symlinks=True)
    yield made
    cluster.gnt("gnt-hook", "rollback", "--to", "0")


def test_they_change_nothing_until_they_are_switched_on(cluster: Cluster, place: Path) -> None:
    cluster.gnt("gnt-hook", "push", str(place))
    assert {row["state"] for row in cluster.rows("gnt-hook", "status")} == {"ok"}
    cluster.add(WEB, "--tags", "env:prod")
    cluster.gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)


def test_an_approval_and_the_ethers_work_where_they_are_switched_on(
    cluster: Cluster, place: Path
) -> None:
    for name in ("approval", "ethers"):
        file = place / f"site/{name}.conf"
        file.write_text(file.read_text().replace("enabled = no", "enabled = yes"))
    cluster.gnt("gnt-hook", "push", str(place))
    cluster.gnt(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", "node2", "-B", "memory=32M",
        "--net", "0:mode=user", "--tags", "env:prod", WEB,
    )  # fmt: skip
    for node in (1, 2):
        assert WEB in (cluster.root(node) / "etc/ethers").read_text()
    said = cluster.refused("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)
    assert f"gnt-instance add-tags {WEB} approved:remove:WHO" in said
    cluster.gnt("gnt-instance", "add-tags", WEB, "approved:remove:alice")
    cluster.gnt("gnt-instance", "remove", "-f", "--shutdown-timeout=0", WEB)
    assert WEB not in (cluster.root(1) / "etc/ethers").read_text()
