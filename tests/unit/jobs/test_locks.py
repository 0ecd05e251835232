"""Locks: all at once, in one order, nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gantry.jobs.locks import LockTable, Request
from gantry.model import locks
from gantry.model.locks import Mode, Needs
from gantry.model.names import JobId

A, B = locks.node("a"), locks.node("b")


def table(slots: int = 100) -> LockTable:
    return LockTable(lambda: slots)


def test_shared_holders_share_and_an_exclusive_one_waits() -> None:
    rows = table()
    first = rows.request(JobId(1), 0, Needs.of(shared=[A]))
    second = rows.request(JobId(2), 0, Needs.of(shared=[A]))
    third = rows.request(JobId(3), 0, Needs.of(exclusive=[A]))
    assert (first.granted, second.granted, third.granted) == (True, True, False)
    rows.release(first)
    assert not third.granted
    rows.release(second)
    assert third.granted


def test_a_later_shared_request_does_not_pass_a_waiting_exclusive_one() -> None:
    rows = table()
    first = rows.request(JobId(1), 0, Needs.of(shared=[A]))
    second = rows.request(JobId(2), 0, Needs.of(exclusive=[A]))
    third = rows.request(JobId(3), 0, Needs.of(shared=[A]))
    assert not third.granted
    rows.release(first)
    assert (second.granted, third.granted) == (True, False)
    rows.release(second)
    assert third.granted


def test_a_request_that_gives_up_lets_those_behind_it_through() -> None:
    rows = table()
    rows.request(JobId(1), 0, Needs.of(shared=[A]))
    second = rows.request(JobId(2), 0, Needs.of(exclusive=[A]))
    third = rows.request(JobId(3), 0, Needs.of(shared=[A]))
    rows.release(second)
    assert third.granted


def test_all_locks_or_none_are_held() -> None:
    rows = table()
    first = rows.request(JobId(1), 0, Needs.of(exclusive=[A]))
    both = rows.request(JobId(2), 0, Needs.of(exclusive=[A, B]))
    other = rows.request(JobId(3), 5, Needs.of(exclusive=[B]))
    # The last one waits behind the second, though nobody holds B.
    assert (both.granted, other.granted) == (False, False)
    rows.release(first)
    assert (both.granted, other.granted) == (True, False)
    rows.release(both)
    assert other.granted


def test_a_better_priority_goes_first_and_can_be_given_later() -> None:
    rows = table()
    first = rows.request(JobId(1), 0, Needs.of(exclusive=[A]))
    second = rows.request(JobId(2), 0, Needs.of(exclusive=[A]))
    third = rows.request(JobId(3), 0, Needs.of(exclusive=[A]))
    rows.reorder(third, -10)
    rows.release(first)
    assert (second.granted, third.granted) == (False, True)


def test_no_more_jobs_run_than_there_are_places() -> None:
    rows = table(slots=2)
    requests = [rows.request(JobId(number), 0, Needs()) for number in range(1, 5)]
    assert [one.granted for one in requests] == [True, True, False, False]
    rows.release(requests[0])
    assert [one.granted for one in requests[2:]] == [True, False]


def test_a_job_that_a_hook_waits_for_needs_no_place() -> None:
    rows = table(slots=1)
    assert rows.request(JobId(1), 0, Needs()).granted
    assert rows.request(JobId(2), 0, Needs(), slot=False).granted


_needs = st.builds(
    lambda modes: Needs(tuple(sorted(modes.items()))),
    st.dictionaries(
        st.sampled_from([locks.CLUSTER, *(locks.node(str(n)) for n in range(4))]),
        st.sampled_from(Mode),
        max_size=3,
    ),
)


@given(st.lists(st.tuples(_needs, st.integers(-2, 2)), max_size=20), st.integers(1, 4), st.data())
def test_whatever_is_asked_for_everybody_gets_it_in_the_end(
    asked: list[tuple[Needs, int]], slots: int, data: st.DataObject
) -> None:
    rows = table(slots)
    waiting = [
        rows.request(JobId(number), priority, needs)
        for number, (needs, priority) in enumerate(asked, 1)
    ]
    while waiting:
        granted = [one for one in waiting if one.granted]
        assert granted, "nobody can go on"
        assert len(granted) <= slots
        _compatible(granted)
        done = data.draw(st.sampled_from(granted))
        rows.release(done)
        waiting.remove(done)
    assert rows.idle


def _compatible(granted: list[Request]) -> None:
    held: dict[locks.Lock, list[Mode]] = {}
    for request in granted:
        for lock, mode in request.needs.locks:
            held.setdefault(lock, []).append(mode)
    for modes in held.values():
        assert len(modes) == 1 or Mode.EXCLUSIVE not in modes
