"""A join that came to nothing does not stand in the way of the next one."""

from __future__ import annotations

from tests.fakes.cluster import entities

from gantry.model.entities import Joined, Token
from gantry.model.names import Uuid
from gantry.model.snapshot import build
from gantry.operations.node.join import NodeJoin

STALE = Joined(
    uuid=Uuid("00000000-0000-4000-8000-00000000aaaa"),
    name="node9.example.com",
    primary_ip="127.1.0.9",
    port=1811,
)


class Given:
    """Nothing random is drawn here."""

    now = 1_000.0
    requester = "gnt:master"

    def uuid(self) -> Uuid:
        raise AssertionError("a join draws no uuid")

    def random_bytes(self, count: int) -> bytes:
        raise AssertionError("a join draws nothing")


TOKEN = Token(
    uuid=Uuid("00000000-0000-4000-8000-00000000bbbb"),
    name="node9.example.com",
    secret_hash="5" * 64,
    expires=4_000_000_000.0,
)


def test_an_older_join_of_the_same_name_goes_with_the_token() -> None:
    cluster = build(1, [*entities(), STALE, TOKEN])
    join = NodeJoin(
        secret_hash="5" * 64,
        node_uuid="00000000-0000-4000-8000-00000000cccc",
        primary_ip="127.1.0.10",
    )
    assert join.check(cluster, Given()).older == (STALE,)
