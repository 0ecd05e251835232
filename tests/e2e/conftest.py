"""One cluster for all tests that do not take it down."""

from collections.abc import Iterator

import pytest
from tests.support.cluster import Cluster, local_cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    with local_cluster("--nodes", "3", "--hypervisors", "fake", "--no-kernel") as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """Three nodes with the fake hypervisor; without instances and hooks at both ends."""
    yield running_cluster
    running_cluster.no_hooks()
    running_cluster.no_definitions()
    running_cluster.local("up")
    running_cluster.remove_all()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
