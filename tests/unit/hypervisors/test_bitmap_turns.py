"""Which bitmap of a mirrored disk is emptied when: never one that a replica may still need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gantry.hypervisors.kvm.resync import Turns

PAUSE = 60.0


def test_the_bitmaps_take_turns_while_all_is_quiet_now_and_then() -> None:
    turns = Turns(0.0)
    assert turns.look(quiet=True, now=1.0, pause=PAUSE) is None
    assert turns.look(quiet=False, now=61.0, pause=PAUSE) == "since0"
    assert turns.look(quiet=False, now=62.0, pause=PAUSE) is None
    assert turns.look(quiet=False, now=200.0, pause=PAUSE) is None
    assert turns.look(quiet=True, now=201.0, pause=PAUSE) == "since1"


def test_a_moment_that_was_quiet_before_a_disturbance_does_not_count() -> None:
    turns = Turns(0.0)
    turns.look(quiet=True, now=1.0, pause=PAUSE)
    turns.disturbed()
    assert turns.look(quiet=False, now=100.0, pause=PAUSE) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "local", "remote", "look"]), st.integers(0, 5)),
        max_size=80,
    )
)
def test_what_is_not_on_the_replica_is_in_one_of_the_bitmaps(steps: list[tuple[str, int]]) -> None:
    """A model: a write is begun, is on the primary (and in both bitmaps), then on the replica."""
    turns = Turns(0.0)
    bitmaps: dict[str, set[int]] = {"since0": set(), "since1": set()}
    on_primary: set[int] = set()
    under_way: set[int] = set()
    for now, (what, write) in enumerate(steps):
        if what == "local":
            for bitmap in bitmaps.values():
                bitmap.add(write)
            on_primary.add(write)
            under_way.add(write)
        elif what == "remote":
            under_way.discard(write)
        elif what == "look":
            name = turns.look(quiet=not under_way, now=float(now), pause=0.0)
            if name is not None:
                bitmaps[name].clear()
        assert under_way <= bitmaps["since0"] | bitmaps["since1"]
