"""Which transactions go together to etcd, and how much history is kept: pure decisions."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry.ports.store import Compare, Delete, Operation, Put
from gantry.store.etcd.grouping import MAX_ETCD_OPERATIONS, Place, Waiting, group_size, written
from gantry.store.etcd.horizon import Horizon

PLACE = Place(b"/p/d/", b"/p/w/me", b"/p/restoring")


def waiting(compare: list[Compare], ops: list[Operation]) -> Waiting:
    async def make() -> Waiting:
        return Waiting(compare, ops)

    return asyncio.run(make())


def put(key: str, revision: int = 0) -> Waiting:
    return waiting([Compare(key, revision)], [Put(key, b"v")])


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (waiting([], [Put("b", b"")]), 2),
        (waiting([], [Put("a", b"")]), 1),
        (waiting([], [Put("b", b""), Delete("a")]), 1),
        (waiting([Compare("a", 7)], [Put("b", b"")]), 1),
        (waiting([Compare("shared", 5)], [Put("b", b"")]), 2),
        (waiting([Compare("shared", 6)], [Put("b", b"")]), 1),
        (waiting([], [Delete("b")]), 2),
        (waiting([Compare("b", 1), Compare("b", 2)], [Put("b", b"")]), 1),
    ],
    ids=[
        "other key", "same key", "deletes it", "compares it", "same compare",
        "contradiction", "only deletes", "contradicts itself",
    ],
)  # fmt: skip
def test_joins_only_what_does_not_look_at_those_before(second: Waiting, together: int) -> None:
    first = waiting([Compare("shared", 5)], [Put("a", b"")])
    assert group_size([first, second]) == together


def test_what_failed_in_a_group_goes_alone() -> None:
    failed = put("b")
    failed.alone = True
    assert group_size([put("a"), failed, put("c")]) == 1
    assert group_size([failed, put("c")]) == 1


def test_what_only_deletes_goes_first_alone() -> None:
    assert group_size([waiting([], [Delete("a")]), put("b")]) == 1


KEYS = st.integers(0, 400).map(lambda number: f"k{number}")
TRANSACTIONS = st.builds(
    waiting,
    st.lists(st.builds(Compare, KEYS, st.integers(0, 3)), max_size=100, unique_by=lambda c: c.key),
    st.lists(
        st.builds(Put, KEYS, st.sampled_from([b"", b"x" * 200_000])),
        min_size=1, max_size=40, unique_by=lambda p: p.key,
    ),
)  # fmt: skip


@given(st.lists(TRANSACTIONS, min_size=1, max_size=12))
def test_a_request_is_one_that_etcd_takes(queue: list[Waiting]) -> None:
    count = group_size(queue)
    assert 1 <= count <= len(queue)
    request = written(queue[:count], PLACE, b"former", b"name")
    for part in (request.compare, request.success, request.failure):
        assert len(part) <= MAX_ETCD_OPERATIONS
    keys = [op.request_put.key for op in request.success if op.request_put is not None]
    assert len(keys) == len(request.success)
    assert len(keys) == len(set(keys))
    size = sum(each.size for each in queue[:count])
    assert count == 1 or size <= 1024 * 1024


def test_history_goes_by_revisions_and_by_bytes() -> None:
    by_revisions = Horizon(keep_revisions=160, keep_bytes=10**9)
    horizons = [h for r in range(1, 1000) if (h := by_revisions.wrote(r, 10)) is not None]
    assert horizons
    assert horizons == sorted(horizons)
    assert 999 - 200 < horizons[-1] <= 999 - 160
    by_bytes = Horizon(keep_revisions=10**9, keep_bytes=16_000)
    horizons = [h for r in range(1, 1000) if (h := by_bytes.wrote(r, 100)) is not None]
    assert 999 - 180 < horizons[-1] <= 999 - 150
    few = Horizon(keep_revisions=10**6, keep_bytes=10**6)
    assert [few.wrote(revision, 10) for revision in range(100)] == [None] * 100
