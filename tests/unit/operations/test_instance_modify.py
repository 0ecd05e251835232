"""What can be changed of an instance, and how."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, check, live, snapshot, up, web

from gantry.model.entities import AdminState, Instance, Nic, NicMode
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Claim, Snapshot

LAN = Nic(
    uuid=Uuid("20000000-0000-4000-8000-000000000001"),
    mac="aa:00:00:00:00:01",
    mode=NicMode.BRIDGED,
    link="br0",
    ip="10.0.0.1",
    name="lan",
)
WAN = Nic(
    uuid=Uuid("20000000-0000-4000-8000-000000000002"),
    mac="aa:00:00:00:00:02",
    mode=NicMode.BRIDGED,
    link="br1",
)
OTHER = Nic(
    uuid=Uuid("x"), mac="aa:00:00:00:00:0f", mode=NicMode.BRIDGED, link="br0", ip="10.0.0.9"
)


def modify(cluster: Snapshot, **fields: Any) -> Any:
    return check(cluster, {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1", **fields})


def refused(cluster: Snapshot, **fields: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        modify(cluster, **fields)
    return caught.value


def nics(cluster: Snapshot, *changes: Any) -> tuple[Nic, ...]:
    after: Instance = modify(cluster, nics=list(changes)).after
    return after.nics


def two() -> Snapshot:
    return snapshot(web(nics=(LAN, WAN)), web(2, nics=(OTHER,)))


def test_changes_what_was_asked_for_and_tells_it() -> None:
    plan = modify(snapshot(), beparams={"memory": "256M"}, hvparams={"migration_mode": "non-live"})
    assert plan.after.beparams == {"maxmem": 256, "minmem": 256}
    assert plan.after.serial_no == plan.before.serial_no + 1
    assert dict(plan.told) == {
        "be/maxmem": 256,
        "be/minmem": 256,
        "hv/migration_mode": "non-live",
    }


def test_refuses_to_change_nothing() -> None:
    assert "nothing to change" in refused(snapshot()).message
    one = web(beparams={"vcpus": 2})
    assert "nothing to change" in refused(snapshot(one), beparams={"vcpus": "2"}).message


def test_default_takes_a_setting_away() -> None:
    one = web(beparams={"maxmem": 512, "minmem": 512, "vcpus": 2}, osparams={"a": "1", "b": "2"})
    plan = modify(snapshot(one), beparams={"memory": "default"}, osparams={"a": "default"})
    assert plan.after.beparams == {"vcpus": 2}
    assert plan.after.osparams == {"b": "2"}


def test_private_parameters_are_not_told() -> None:
    told = dict(modify(snapshot(), osparams_private={"password": "secret"}).told)
    assert told == {"os_private/password": "<redacted>"}


def test_more_memory_must_fit_while_it_should_be_up() -> None:
    one = web(admin_state=AdminState.UP)
    assert modify(snapshot(one), beparams={"memory": 1128}).claims == (
        Claim(node=NODE1, memory=1000),
    )
    assert refused(snapshot(one), beparams={"memory": "8G"}).reason is Reason.NO_RESOURCES
    assert modify(snapshot(one), beparams={"memory": "8G"}, force=True)
    assert modify(snapshot(), beparams={"memory": "8G"}).claims == ()


def test_refuses_more_minmem_than_maxmem() -> None:
    assert "minmem 256 is more" in refused(snapshot(), beparams={"minmem": 256}).message


def test_only_what_is_down_can_be_set_aside_and_brought_back() -> None:
    assert modify(snapshot(), offline=True).after.admin_state is AdminState.OFFLINE
    aside = snapshot(web(admin_state=AdminState.OFFLINE))
    assert modify(aside, offline=False).after.admin_state is AdminState.DOWN
    for cluster in (
        snapshot(web(admin_state=AdminState.UP)),
        snapshot(nodes={NODE1: live(guests=up())}),
    ):
        assert "gnt-instance shutdown" in refused(cluster, offline=True).hint
    assert "nothing to change" in refused(snapshot(), offline=False).message


def test_another_os_must_be_there_unless_forced() -> None:
    assert "has no OS definition" in refused(snapshot(), os_name="debian").message
    assert modify(snapshot(), os_name="debian", force=True).after.os == "debian"
    assert "is not the name" in refused(snapshot(), os_name="../x", force=True).message


class TestNics:
    def test_one_is_added_at_the_end_or_at_its_place(self) -> None:
        assert nics(two(), ["add", -1, {"name": "new"}])[2].name == "new"
        assert nics(two(), ["add", 0, {"name": "new"}])[0].name == "new"
        assert nics(two(), ["add", 2, {"name": "new"}])[2].name == "new"

    @pytest.mark.parametrize("which", [0, "0", "lan", LAN.uuid, -2 + 2])
    def test_one_is_found_by_number_name_and_uuid(self, which: int | str) -> None:
        assert nics(two(), ["modify", which, {"ip": "10.0.0.2"}])[0].ip == "10.0.0.2"
        assert nics(two(), ["remove", which, {}]) == (WAN,)

    @pytest.mark.parametrize("which", [-1, "-1"])
    def test_minus_one_is_the_last(self, which: int | str) -> None:
        assert nics(two(), ["remove", which, {}]) == (LAN,)

    @pytest.mark.parametrize("which", [2, -2, "wan", "²", "--1", "", "9" * 5000, "1.0"])
    def test_refuses_those_that_are_not_there(self, which: int | str) -> None:
        assert "the instance has no NIC" in refused(two(), nics=[["modify", which, {}]]).message

    def test_refuses_to_remove_the_last_of_none(self) -> None:
        assert "has no NIC" in refused(snapshot(), nics=[["remove", -1, {}]]).message

    def test_changes_are_made_one_after_the_other(self) -> None:
        after = nics(two(), ["remove", 0, {}], ["modify", 0, {"name": "first"}])
        assert [nic.name for nic in after] == ["first"]

    def test_none_takes_an_address_and_a_name_away(self) -> None:
        [lan, _] = nics(two(), ["modify", 0, {"ip": "none", "name": "none"}])
        assert (lan.ip, lan.name) == (None, None)

    def test_a_mac_stays_unless_a_new_one_is_wanted(self) -> None:
        assert nics(two(), ["modify", 0, {"link": "br5"}])[0].mac == LAN.mac
        assert nics(two(), ["modify", 0, {"mac": "generate"}])[0].mac not in (LAN.mac, WAN.mac)
        assert nics(two(), ["modify", 0, {"mac": LAN.mac, "ip": "10.0.0.3"}])[0].mac == LAN.mac

    @pytest.mark.parametrize("mac", [WAN.mac, OTHER.mac])
    def test_refuses_a_mac_of_another_nic(self, mac: str) -> None:
        refused(two(), nics=[["modify", 0, {"mac": mac}]])
        refused(two(), nics=[["add", -1, {"mac": mac}]])

    def test_a_mac_can_go_to_a_new_nic_as_the_old_one_goes(self) -> None:
        after = nics(two(), ["remove", 0, {}], ["add", 0, {"mac": LAN.mac}])
        assert after[0].mac == LAN.mac

    def test_refuses_an_address_that_is_taken(self) -> None:
        assert "web2" in refused(two(), nics=[["modify", 0, {"ip": "10.0.0.9"}]]).message
        on_br0 = [["modify", 1, {"link": "br0", "ip": LAN.ip}]]
        assert "is given twice" in refused(two(), nics=on_br0).message

    def test_reserves_what_is_new(self) -> None:
        plan = modify(two(), nics=[["modify", 0, {"ip": "10.0.0.7"}], ["add", -1, {}]])
        assert plan.reserve == (f"mac/{plan.after.nics[2].mac}", "ip/br0/10.0.0.7")

    def test_another_mode_has_another_link(self) -> None:
        [lan, _] = nics(two(), ["modify", 0, {"mode": "user"}])
        assert (lan.mode, lan.link) == (NicMode.USER, "")
        cluster = snapshot(web(nics=(lan,)), nicparams={"link": "br7"})
        [back] = nics(cluster, ["modify", 0, {"mode": "bridged"}])
        assert (back.mode, back.link) == (NicMode.BRIDGED, "br7")

    def test_refuses_a_ninth_one(self) -> None:
        assert "at most 8" in refused(snapshot(), nics=[["add", -1, {}]] * 9).message

    def test_refuses_actions_that_do_not_exist(self) -> None:
        assert "cannot be 'attach'" in refused(two(), nics=[["attach", 0, {}]]).message
