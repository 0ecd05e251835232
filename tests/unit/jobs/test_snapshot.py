"""Changes of a snapshot keep its name indexes right, and share them where no name changed."""

from __future__ import annotations

import msgspec
from tests.fakes.cluster import entities, instance

from gantry.model.entities import AdminState
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
