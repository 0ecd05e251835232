"""One cluster a store for all tests that do not take it down; most tests use SQLite's."""

from collections.abc import Iterator

import pytest
from tests.support.cluster import Cluster, local_cluster


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    with local_cluster("--nodes", "3", "--hypervisors", "fake", "--no-kernel") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster_on_etcd() -> Iterator[Cluster]:
    with local_cluster(
        "--nodes", "3", "--hypervisors", "fake", "--no-kernel", "--store", "etcd"
    ) as cluster:
        # From the next master on; so that tests do not wait long for one.
        cluster.gnt("gnt-cluster", "modify", "--master-lease", "2")
        cluster.kill("master")
        cluster.local("up")
        yield cluster


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """What keeps the cluster's state; a test that is about that has a parameter for it."""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def cluster(store: str, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes with the fake hypervisor; without instances and hooks at both ends."""
    name = "cluster_on_etcd" if store == "etcd" else "running_cluster"
    running: Cluster = request.getfixturevalue(name)
    yield running
    running.no_hooks()
    running.no_definitions()
    running.local("up")
    running.remove_all()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
