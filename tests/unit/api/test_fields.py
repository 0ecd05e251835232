"""The fields of instances and nodes, and the status in one word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import entities, instance, instance_uuid, node_uuid

from gantry.api.query import group, job, lock, node, os, status
from gantry.api.query import instance as instances
from gantry.api.query.fields import Fields, Kind, Missing, UnknownField
from gantry.api.query.rows import Kept, row
from gantry.api.query.status import InstanceStatus
from gantry.api.query.view import View, natural
from gantry.model.entities import AdminState, Instance, Node
from gantry.model.live import GuestLive, GuestState, NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import build

ALL: list[Fields[View, Any]] = [
    instances.FIELDS,
    node.FIELDS,
    group.FIELDS,
    job.FIELDS,
    os.FIELDS,
    lock.FIELDS,
]


def guests(state: GuestState) -> dict[Uuid, GuestLive]:
    one = GuestLive(uuid=instance_uuid(1), name="web1", state=state, memory=256, vcpus=2)
    return {one.uuid: one}


def view(one: Instance, live: dict[int, NodeLive] | None = None, **node1: Any) -> View:
    made = entities(2)
    changed = [
        msgspec.structs.replace(each, **node1)
        if isinstance(each, Node) and each.uuid == node_uuid(1)
        else each
        for each in made
    ]
    lives = {node_uuid(number): value for number, value in (live or {}).items()}
    return View(build(1, [*changed, one], lives))


UP = instance(1, admin_state=AdminState.UP)
DOWN = instance(1)
OFFLINE = instance(1, admin_state=AdminState.OFFLINE)
RUNNING = {1: NodeLive(reachable=True, guests=guests(GuestState.RUNNING))}
NOTHING = {1: NodeLive(reachable=True)}


@pytest.mark.parametrize(
    ("one", "live", "expected"),
    [
        (UP, RUNNING, "running"),
        (UP, NOTHING, "ERROR_down"),
        (UP, {1: NodeLive(reachable=True, guests=guests(GuestState.PAUSED))}, "running"),
        (UP, {1: NodeLive(reachable=True, guests=guests(GuestState.DIED))}, "ERROR_down"),
        (UP, {1: NodeLive(reachable=True, guests=guests(GuestState.SHUT_DOWN))}, "USER_down"),
        (DOWN, RUNNING, "ERROR_up"),
        (DOWN, NOTHING, "ADMIN_down"),
        (OFFLINE, NOTHING, "ADMIN_offline"),
        (OFFLINE, RUNNING, "ERROR_up"),
        (instance(1, admin_state_source="user"), NOTHING, "USER_down"),
        (UP, {}, "ERROR_nodedown"),
        (UP, {1: NodeLive(reachable=False, guests=guests(GuestState.RUNNING))}, "ERROR_nodedown"),
        (UP, {**NOTHING, 2: RUNNING[1]}, "ERROR_wrongnode"),
    ],
)
def test_the_status_in_one_word(
    one: Instance, live: dict[int, NodeLive], expected: InstanceStatus
) -> None:
    assert status.of(view(one, live), one) == expected


def test_an_offline_node_comes_before_all_else() -> None:
    assert status.of(view(UP, RUNNING, offline=True), UP) == "ERROR_nodeoffline"
    get = instances.FIELDS.find("oper_ram").get
    assert get(view(UP, RUNNING, offline=True), UP) is Missing.OFFLINE
    assert get(view(UP, {}), UP) is Missing.NO_DATA
    assert get(view(UP, NOTHING), UP) is Missing.UNAVAILABLE
    assert get(view(UP, RUNNING), UP) == 256


def test_what_listings_of_the_other_system_show_by_default_is_the_same() -> None:
    assert instances.FIELDS.default == ("name", "hypervisor", "os", "pnode", "status", "oper_ram")
    assert node.FIELDS.default[:5] == ("name", "dtotal", "dfree", "mtotal", "mnode")
    assert job.FIELDS.default == ("id", "status", "summary")


@pytest.mark.parametrize("fields", ALL)
def test_every_field_is_described_and_the_default_ones_exist(fields: Fields[View, Any]) -> None:
    assert [one.name for one in fields.chosen("")] == list(fields.default)
    for one in fields.all():
        assert one.title
        assert " " not in one.title
        assert one.doc
        assert fields.find(one.name).name == one.name


def test_fields_after_a_plus_come_behind_the_usual_ones() -> None:
    names = [one.name for one in instances.FIELDS.chosen("+tags,be/maxmem")]
    assert names == [*instances.DEFAULT, "tags", "be/maxmem"]


@pytest.mark.parametrize(
    "name",
    ["", "x", "disk.size/", "disk.size/-1", "disk.size/x", "disk.size/99999", "hv/nonsense", "be/"],
)
def test_what_is_no_field_is_unknown(name: str) -> None:
    with pytest.raises(UnknownField) as caught:
        instances.FIELDS.find(name)
    assert caught.value.code == "unknown-field"


def test_old_names_of_fields_still_work() -> None:
    for alias in ("sda_size", "ip", "mac", "bridge", "nic_mode", "nic_link", "vcpus", "be/memory"):
        assert instances.FIELDS.find(alias).name == alias


def test_kinds_tell_how_to_show_values() -> None:
    kinds = {
        name: instances.FIELDS.find(name).kind for name in ("be/maxmem", "be/vcpus", "hv/acpi")
    }
    assert kinds == {"be/maxmem": Kind.UNIT, "be/vcpus": Kind.NUMBER, "hv/acpi": Kind.BOOL}


def test_rows_are_made_again_only_for_what_changed() -> None:
    made: list[str] = []
    fields = instances.FIELDS.chosen("name,status")

    def counted(view: View, one: Instance) -> str:
        made.append(one.name)
        return one.name

    counting = [msgspec.structs.replace(fields[0], get=counted), fields[1]]
    kept: Kept[View, Instance] = Kept(counting, instances.depends)
    first = view(UP, RUNNING)
    assert kept.rows(first, [UP])[0] == row(counting, first, UP)
    kept.rows(view(UP, RUNNING), [UP])
    assert len(made) == 2
    assert b"ERROR_down" in kept.rows(view(UP, NOTHING), [UP])[0][0]
    assert b"ERROR_wrongnode" in kept.rows(view(UP, {**NOTHING, 2: RUNNING[1]}), [UP])[0][0]
    kept.forget([])
    assert len(kept) == 0


def test_names_are_in_the_order_of_people() -> None:
    assert sorted(["web10", "web2", "web1"], key=natural) == ["web1", "web2", "web10"]
