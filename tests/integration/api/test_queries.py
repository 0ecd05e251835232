"""Listings through the real socket and the real client."""

from __future__ import annotations

import pytest
from tests.fakes.cluster import instance, instance_uuid, node_uuid
from tests.integration.api.conftest import Api

from gantry.client.errors import ApiError
from gantry.model.entities import AdminState
from gantry.model.live import GuestLive, GuestState, NodeLive


async def test_the_usual_fields_of_instances(api: Api) -> None:
    live = GuestLive(
        uuid=instance_uuid(1), name="web1.example.com", state=GuestState.RUNNING, memory=512
    )
    api.queue.put(instance(1, admin_state=AdminState.UP))
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, guests={live.uuid: live}))
    answer = await api.get("query/instance")
    names = [field["name"] for field in answer["fields"]]
    assert names == ["name", "hypervisor", "os", "pnode", "status", "oper_ram"]
    assert answer["rows"][0] == [
        "web1.example.com",
        "fake",
        "noop",
        "node1.example.com",
        "running",
        512,
    ]
    assert answer["rows"][1][4:] == ["ADMIN_down", None]
    assert answer["missing"] == []


async def test_a_silent_node_is_told_from_a_value_that_is_not_there(api: Api) -> None:
    answer = await api.get("query/instance", fields="name,oper_ram")
    assert [row[1] for row in answer["rows"]] == [None, None, None]
    assert answer["missing"] == [[0, 1, "nodata"], [1, 1, "nodata"], [2, 1, "nodata"]]


async def test_names_patterns_and_filters_choose(api: Api) -> None:
    async def names(**query: str) -> list[str]:
        rows = (await api.get("query/instance", fields="name", **query))["rows"]
        return [row[0].partition(".")[0] for row in rows]

    assert await names(names="web3,web1.example.com") == ["web3", "web1"]
    assert await names(names="*2*") == ["web2"]
    assert await names(names="nothing*") == []
    assert await names(filter='name == "web2.example.com" or name =~ m/^web3/') == ["web2", "web3"]
    with pytest.raises(ApiError, match="web9"):
        await names(names="web9")
    with pytest.raises(ApiError, match="character 8"):
        await names(filter="name ==")


async def test_an_unknown_field_names_those_that_are_near(api: Api) -> None:
    with pytest.raises(ApiError) as caught:
        await api.get("query/instance", fields="name,statsu")
    assert caught.value.code == "unknown-field"
    assert "status" in caught.value.hint


async def test_all_fields_of_every_resource_are_told(api: Api) -> None:
    answer = await api.get("query/instance/fields")
    names = [field["name"] for field in answer["fields"]]
    assert {"name", "be/maxmem", "hv/kernel_path", "disk.size/N", "nic.ip/N"} <= set(names)
    assert all(field["doc"] and field["title"] and field["kind"] for field in answer["fields"])
    everything = ",".join(names)
    assert len((await api.get("query/instance", fields=everything))["rows"]) == 3


async def test_an_unknown_resource_or_argument_is_refused(api: Api) -> None:
    for path in ("query/nonsense", "query/nonsense/fields", "query/instance?colour=red"):
        with pytest.raises(ApiError):
            await api.get(path)


async def test_a_row_shows_what_changed_and_only_that(api: Api) -> None:
    before = (await api.get("query/instance", fields="name,status"))["rows"]
    api.queue.put(instance(2, admin_state=AdminState.UP))
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True))
    after = (await api.get("query/instance", fields="name,status"))["rows"]
    assert [row[1] for row in before] == ["ERROR_nodedown"] * 3
    assert [row[1] for row in after] == ["ADMIN_down", "ERROR_down", "ADMIN_down"]
