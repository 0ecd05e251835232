"""One cluster a store for all tests that do not take it down."""

from collections.abc import Iterator

import pytest
from tests.e2e.stores import ON_A_FILE
from tests.support.cluster import Cluster, local_cluster

LEASE = "20"
"""Seconds in which a master that a test has killed is started again, also on a busy machine; then
another takes over."""


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    with local_cluster("--nodes", "3", "--hypervisors", "fake", "--no-kernel") as cluster:
        cluster.whole()
        yield cluster


@pytest.fixture(scope="session")
def cluster_on_etcd() -> Iterator[Cluster]:
    with local_cluster(
        "--nodes", "3", "--hypervisors", "fake", "--no-kernel", "--store", "etcd"
    ) as cluster:
        # From the next master on.
        cluster.gnt("gnt-cluster", "modify", "--master-lease", LEASE)
        cluster.kill("master")
        cluster.local("up")
        cluster.whole()
        # On a busy machine another node may have taken over meanwhile.
        cluster.mend()
        yield cluster


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    """What keeps the cluster's state."""
    return str(request.param)


@pytest.fixture
def cluster(store: str, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes with the fake hypervisor; without instances and hooks at both ends."""
    name = "cluster_on_etcd" if store == "etcd" else "running_cluster"
    running: Cluster = request.getfixturevalue(name)
    yield running
    running.no_hooks()
    running.no_definitions()
    running.mend()
    running.remove_all()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Once on each store, unless the test says itself on which, or ``stores`` says why not."""
    if "store" not in metafunc.fixturenames:
        return
    if any("store" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")):
        return
    stores = ["sqlite"] if metafunc.definition.originalname in ON_A_FILE else ["sqlite", "etcd"]
    metafunc.parametrize("store", stores, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
