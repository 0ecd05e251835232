"""Three members of etcd for all tests here that do not take them down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.etcd import Etcd, etcd


@pytest.fixture(scope="session")
def members() -> Iterator[Etcd]:
    with etcd() as made:
        yield made
