"""A moment moved to an agent's clock is never later than the real one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gantry.model.names import Uuid
from gantry.ports.agents import Moment
from gantry.rpc.clocks import DRIFT, WINDOW, Clocks

NODE = Uuid("node")
seconds = st.floats(0, 1e6)


class Ours:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    ahead=st.floats(-1e6, 1e6),
    rate=st.floats(1 - DRIFT / 2, 1 + DRIFT / 2),
    exchanges=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=8),
    later=st.floats(0, 1000),
    lease=st.floats(-10, 100),
)
def test_no_order_may_begin_after_its_time(
    ahead: float,
    rate: float,
    exchanges: list[tuple[float, float]],
    later: float,
    lease: float,
) -> None:
    ours = Ours()
    clocks = Clocks(ours)

    def theirs(at: float) -> float:
        return ahead + rate * at

    for pause, under_way in exchanges:
        said = ours.now + pause
        ours.now = said + under_way
        clocks.announced(NODE, Moment("clock", theirs(said)))
    ours.now += later
    end = ours.now + lease
    # In the time of the order itself the clocks run apart too, by less than this allows.
    assert clocks.until(NODE, end).seconds <= theirs(end) + abs(lease) * DRIFT + 1e-6


def test_another_clock_has_to_be_announced_to() -> None:
    clocks = Clocks(Ours())
    clocks.heard(NODE, Moment("a", 5.0))
    assert not clocks.knows(NODE)
    clocks.announced(NODE, Moment("a", 5.0))
    clocks.heard(NODE, Moment("a", 6.0))
    assert clocks.until(NODE, 1.0) == Moment("a", 7.0)
    clocks.heard(NODE, None)
    assert clocks.knows(NODE)
    clocks.heard(NODE, Moment("b", 6.0))
    assert not clocks.knows(NODE)


def test_what_is_known_of_a_clock_ages() -> None:
    ours = Ours()
    clocks = Clocks(ours)
    clocks.announced(NODE, Moment("a", 0.0))
    ours.now = 1000.0
    assert clocks.until(NODE, 1000.0).seconds == 1000.0 - 1000.0 * DRIFT


def test_what_a_paused_machine_said_before_does_not_count_for_long() -> None:
    """Its clock stood still for a minute: what it said before would let orders begin too late."""
    ours = Ours()
    clocks = Clocks(ours)
    clocks.announced(NODE, Moment("a", 0.0))
    ours.now = 60.0
    clocks.heard(NODE, Moment("a", 0.0))
    assert clocks.until(NODE, 60.0).seconds <= 0.0


def test_a_short_pause_is_noticed_too_and_the_best_of_the_last_seconds_counts() -> None:
    ours = Ours()
    clocks = Clocks(ours)
    clocks.announced(NODE, Moment("a", 0.0))
    for second in range(1, int(WINDOW) + 9):
        ours.now = float(second)
        # Its clock stood still for five seconds.
        clocks.heard(NODE, Moment("a", max(0.0, second - 5.0)))
        late = clocks.until(NODE, ours.now).seconds - (second - 5.0)
        assert late <= 0.0 or second <= WINDOW + 5.0
    ours.now += 1.0
    clocks.heard(NODE, Moment("a", ours.now - 15.0))
    assert clocks.until(NODE, ours.now).seconds > ours.now - 6.0, "that one was long under way"


@given(st.lists(st.tuples(st.floats(0, 40), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_last_word_always_counts(heard: list[tuple[float, float]]) -> None:
    ours = Ours()
    clocks = Clocks(ours)
    for pause, reading in heard:
        ours.now += pause
        clocks.announced(NODE, Moment("a", reading))
        assert clocks.until(NODE, ours.now).seconds >= reading - 1e-6
