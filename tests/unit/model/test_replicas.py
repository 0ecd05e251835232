"""States of replicas change one by one, applied to what is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gantry.model.codec import decode, encode
from gantry.model.entities import Mirror, Replica, ReplicaState, key
from gantry.model.names import Uuid
from gantry.model.replicas import (
    MirrorChange,
    ReplicaAdded,
    ReplicaBecame,
    ReplicaRemoved,
    all_changed,
    changed,
)

DISK = Uuid("00000000-0000-4000-8000-0000000000d1")
A, B, C = (Uuid(f"00000000-0000-4000-8000-00000000000{digit}") for digit in "abc")
MIRROR = Mirror(
    uuid=DISK,
    name=DISK,
    instance=Uuid("00000000-0000-4000-8000-0000000000e1"),
    replicas={
        A: Replica(number=1, state=ReplicaState.IN_SYNC),
        B: Replica(number=2, state=ReplicaState.IN_SYNC),
    },
    next_number=3,
)

nodes, states = st.sampled_from([A, B, C]), st.sampled_from(ReplicaState)
changes = st.one_of(
    st.builds(ReplicaAdded, disk=st.just(DISK), node=nodes, state=states),
    st.builds(ReplicaRemoved, disk=st.just(DISK), node=nodes),
    st.builds(
        ReplicaBecame,
        disk=st.just(DISK),
        node=nodes,
        state=states,
        only_from=st.none() | states,
    ),
)


def test_a_mirror_is_kept_like_any_object() -> None:
    assert key(MIRROR) == f"mirrors/{DISK}"
    assert decode(key(MIRROR), encode(MIRROR)) == MIRROR


def test_a_replica_becomes_stale_and_the_others_stay() -> None:
    after = changed(MIRROR, ReplicaBecame(disk=DISK, node=B, state=ReplicaState.STALE))
    assert after.replicas[B] == Replica(number=2, state=ReplicaState.STALE)
    assert after.replicas[A] == MIRROR.replicas[A]
    assert after.serial_no == 2


def test_a_change_that_comes_too_late_changes_nothing() -> None:
    stale = changed(MIRROR, ReplicaBecame(disk=DISK, node=B, state=ReplicaState.STALE))
    late = ReplicaBecame(
        disk=DISK, node=B, state=ReplicaState.IN_SYNC, only_from=ReplicaState.SYNCING
    )
    assert changed(stale, late) is stale


def test_one_that_is_gone_does_not_come_back() -> None:
    without = changed(MIRROR, ReplicaRemoved(disk=DISK, node=B))
    assert changed(without, ReplicaBecame(disk=DISK, node=B, state=ReplicaState.STALE)) is without
    again = changed(without, ReplicaAdded(disk=DISK, node=B, state=ReplicaState.SYNCING))
    assert again.replicas[B].number == 3


@given(st.lists(changes, max_size=8))
def test_numbers_are_never_used_twice(several: list[MirrorChange]) -> None:
    seen: dict[int, Uuid] = {1: A, 2: B}
    mirror = MIRROR
    for change in several:
        mirror = changed(mirror, change)
        for node, replica in mirror.replicas.items():
            assert seen.setdefault(replica.number, node) == node
            assert replica.number < mirror.next_number
    found = all_changed({DISK: MIRROR}, several)
    assert (found[0] if found else MIRROR).replicas == mirror.replicas
