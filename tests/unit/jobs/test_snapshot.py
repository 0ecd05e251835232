"""Changes of a snapshot keep its name indexes right, and share them where no name changed."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.cluster import entities, instance

from gantry.model.entities import AdminState, Instance, Nic, NicMode
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot, build


def snapshot() -> Snapshot:
    return build(1, [*entities(), instance(1), instance(2)])


def test_a_change_without_a_new_name_shares_the_index() -> None:
    before = snapshot()
    after = before.with_changes(2, [instance(1, admin_state=AdminState.UP)])
    assert after.instance_names is before.instance_names
    assert after.instance("web1").admin_state is AdminState.UP
    assert before.instance("web1").admin_state is AdminState.DOWN


def test_a_new_name_is_found_and_the_old_one_is_not() -> None:
    renamed = msgspec.structs.replace(instance(1), name="other.example.com")
    after = snapshot().with_changes(2, [renamed])
    assert after.instance_names["other.example.com"] == renamed.uuid
    assert "web1.example.com" not in after.instance_names


def test_a_deleted_object_loses_its_name() -> None:
    after = snapshot().with_changes(2, [], [instance(2)])
    assert set(after.instance_names) == {"web1.example.com"}


def _with_nics(number: int, name: str, macs: list[str]) -> Instance:
    nics = tuple(Nic(uuid=Uuid(f"{number}-{mac}"), mac=mac, mode=NicMode.BRIDGED) for mac in macs)
    return instance(number, name=name, nics=nics)


_STATE = st.one_of(st.none(), st.lists(st.integers(0, 2), max_size=2, unique=True))


@given(st.lists(st.dictionaries(st.integers(1, 4), _STATE, max_size=3), max_size=6), st.data())
def test_after_any_commits_the_indexes_are_as_if_made_anew(
    commits: list[dict[int, list[int] | None]], data: Any
) -> None:
    """Each commit makes instances anew, with other names and NICs, or deletes them."""
    now = build(1, entities())
    for commit in commits:
        put, delete = [], []
        for number, macs in commit.items():
            known = now.instances.get(instance(number).uuid)
            if macs is not None:
                name = f"{data.draw(st.sampled_from(['web', 'db']))}{number}.example.com"
                put.append(_with_nics(number, name, [f"aa:{number}:{mac}" for mac in macs]))
            elif known is not None:
                delete.append(known)
        now = now.with_changes(now.revision + 1, put, delete)
    anew = build(now.revision, [*entities(), *now.instances.values()])
    assert now.instance_names == anew.instance_names
    assert now.macs == anew.macs
    assert now.node_names == anew.node_names


def test_a_mac_address_may_move_from_one_instance_to_another_in_one_commit() -> None:
    first = _with_nics(1, "web1.example.com", ["aa:1"])
    before = build(1, [*entities(), first, _with_nics(2, "web2.example.com", [])])
    after = before.with_changes(
        2, [_with_nics(1, "web1.example.com", []), _with_nics(2, "web2.example.com", ["aa:1"])]
    )
    assert after.macs == {"aa:1": instance(2).uuid}
    assert after.instance_names is before.instance_names
