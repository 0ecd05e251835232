"""Documents, tags, OS definitions, tokens, the state's copy: through socket and client."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import GROUP, instance, instance_uuid, node_uuid
from tests.fakes.services import FakeLock
from tests.fakes.world import NOOP
from tests.integration.api.conftest import Api

from gantry.client.errors import ApiError
from gantry.model.entities import AdminState, Disk, DiskTemplate, Nic, NicMode, Token
from gantry.model.live import (
    GuestLive,
    GuestState,
    HypervisorFacts,
    NodeFacts,
    NodeLive,
)
from gantry.model.names import Uuid
from gantry.model.orders import OsList
from gantry.model.os_texts import OsText, OsTexts, ReadOsTexts
from gantry.pki.tokens import secret_hash

DISK = Disk(uuid=Uuid("d"), size=1024, template=DiskTemplate.FILE, path="/srv/x/disk0")
NIC = Nic(uuid=Uuid("n"), mac="aa:00:00:00:00:01", mode=NicMode.USER, ip="10.0.2.15")


def running(number: int, memory: int = 256) -> dict[Uuid, GuestLive]:
    uuid = instance_uuid(number)
    live = GuestLive(
        uuid=uuid, name=f"web{number}.example.com", state=GuestState.RUNNING, memory=memory
    )
    return {uuid: live}


async def test_an_instance_is_told_with_all_levels_and_its_live_state(api: Api) -> None:
    api.queue.put(
        instance(
            1,
            admin_state=AdminState.UP,
            beparams={"maxmem": 256},
            osparams_private={"password": "secret"},
            disk_template=DiskTemplate.FILE,
            disks=(DISK,),
            nics=(NIC,),
            tags=("b", "a"),
        )
    )
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, guests=running(1)))
    found = await api.get("instances/web1")
    assert found["name"] == "web1.example.com"
    assert found["status"] == "running"
    assert found["live"]["memory"] == 256
    assert (found["beparams"]["maxmem"], found["beparams"]["vcpus"]) == (256, 1)
    assert found["disks"][0]["size"] == 1024
    assert found["nics"][0]["ip"] == "10.0.2.15"
    assert found["tags"] == ["a", "b"]
    assert "secret" not in str(found)
    listed = await api.get(
        "query/instance", fields="name,osparams,disk.size/0,disk.size/1,nic.ip/0"
    )
    assert listed["rows"][0][1:] == [{"password": "<private>"}, 1024, None, "10.0.2.15"]


async def test_a_node_says_which_hypervisors_it_has_and_why(api: Api) -> None:
    facts = NodeFacts(
        memory_total=4096,
        hypervisors={"kvm": HypervisorFacts(available=True, why="no /dev/kvm", accelerator="tcg")},
    )
    api.queue.set_live(node_uuid(2), NodeLive(reachable=True, facts=facts))
    found = await api.get("nodes/node2")
    assert found["hypervisors"]["kvm"]["why"] == "no /dev/kvm"
    assert found["resources"]["memory_total"] == 4096
    assert (found["role"], found["reachable"]) == ("master candidate", True)
    silent = await api.get("nodes/node3.example.com")
    assert (silent["reachable"], silent["resources"]) == (False, None)
    with pytest.raises(ApiError, match="node9"):
        await api.get("nodes/node9")


async def test_nodes_are_listed_with_their_roles_and_what_they_said(api: Api) -> None:
    facts = NodeFacts(memory_total=4096, memory_free=1000, disk_total=9000, cpus=2)
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, facts=facts))
    api.queue.put(msgspec.structs.replace(api.queue.cluster.nodes[node_uuid(3)], offline=True))
    answer = await api.get(
        "query/node", fields="name,role,mtotal,pinst_cnt,pinst_list,ndp/ssh_port"
    )
    assert answer["rows"][0] == [
        "node1.example.com",
        "M",
        4096,
        3,
        ["web1.example.com", "web2.example.com", "web3.example.com"],
        22,
    ]
    assert [row[1] for row in answer["rows"]] == ["M", "C", "O"]
    assert answer["missing"] == [[1, 2, "nodata"], [2, 2, "offline"]]
    usual = await api.get("query/node")
    assert [field["name"] for field in usual["fields"]][:4] == ["name", "dtotal", "dfree", "mtotal"]


async def test_groups_jobs_and_locks_are_listed(api: Api) -> None:
    assert (await api.get("query/group"))["rows"][0][:4] == ["default", 3, 3, "preferred"]
    assert (await api.get("query/group", names="default", fields="uuid"))["rows"] == [[GROUP]]
    api.services.rows = (FakeLock("node/x", "shared", [7], [8, 9]),)
    assert (await api.get("query/lock"))["rows"] == [["node/x", "shared", [7], [8, 9]]]


async def test_jobs_are_listed_and_archived_ones_only_when_asked_for(api: Api) -> None:
    for number in range(3):
        body = {"ops": [{"OP_ID": "OP_TEST_DUMMY"}], "request_id": f"r{number}"}
        await api.post("jobs", body)
    await api.queue.end(api.queue.jobs()[0].id)
    await api.post("jobs/archive", {"jobs": [1]})
    assert (await api.get("query/job"))["rows"] == [
        [2, "queued", ["TEST_DUMMY"]],
        [3, "queued", ["TEST_DUMMY"]],
    ]
    archived = await api.get("query/job", fields="id,archived", filter="archived")
    assert archived["rows"] == [[1, True]]
    named = await api.get("query/job", fields="id", names="1,3")
    assert named["rows"] == [[1], [3]]
    pending = 'status == "queued" and summary =~ m/DUMMY/ and id > 2'
    assert (await api.get("query/job", fields="id", filter=pending))["rows"] == [[3]]
    with pytest.raises(ApiError, match="77"):
        await api.get("query/job", names="77")


async def test_the_cluster_is_told(api: Api) -> None:
    found = await api.get("info")
    assert found["name"] == "cluster.example.com"
    assert found["master"] == "node1.example.com"
    assert found["beparams"]["maxmem"] == 128
    assert (await api.get("version"))["api"] == 1


async def test_os_definitions_are_combined_over_the_nodes(api: Api) -> None:
    here = OsList(oses=(NOOP,), search_path=("/srv/ganeti/os",))
    api.services.oses = {
        "node1.example.com": here,
        "node2.example.com": OsList(oses=(), search_path=("/srv/ganeti/os",)),
    }
    [found] = await api.get("os")
    assert (found["name"], found["valid"], found["hidden"]) == ("noop", False, False)
    assert "node2.example.com" in found["problems"]
    assert found["full_names"] == ["noop"]
    answer = await api.get("query/os", fields="name,valid")
    assert answer["rows"] == [["noop", False]]


async def test_what_is_hidden_or_blacklisted_is_not_listed_also_single_variants(api: Api) -> None:
    deb = msgspec.structs.replace(NOOP, name="deb", variants=("a", "b", "c"))
    both = OsList(oses=(NOOP, deb), search_path=("/srv/ganeti/os",))
    api.services.oses = {"node1.example.com": both}
    cluster = api.queue.snapshot().cluster
    private = {"deb": {"key": "hunter2"}, "deb+a": {"other": "swordfish"}}
    changes: dict[str, Any] = {"osparams_private": private}
    changes |= {"hidden_os": ("deb+a", "noop"), "blacklisted_os": ("deb+b",)}
    api.queue.put(msgspec.structs.replace(cluster, **changes))
    deb_shown, noop_shown = await api.get("os")
    assert deb_shown["listed_names"] == ["deb+c"]
    assert deb_shown["full_names"] == ["deb+a", "deb+b", "deb+c"]
    assert (noop_shown["listed_names"], noop_shown["hidden"]) == ([], True)
    assert deb_shown["osparams_private"] == {
        "deb": {"key": "<redacted>"},
        "deb+a": {"other": "<redacted>"},
    }


async def test_what_differs_between_nodes_is_told_line_by_line(api: Api) -> None:
    usual = msgspec.structs.replace(NOOP, digest="1", files={"create": "1"})
    other = msgspec.structs.replace(NOOP, digest="2", files={"create": "2"})
    per_node = {1: usual, 2: usual, 3: other}
    api.services.oses = {
        f"node{number}.example.com": OsList(oses=(facts,), search_path=())
        for number, facts in per_node.items()
    }
    texts = {1: "one\n", 2: "one\n", 3: "two\n"}
    for number, text in texts.items():

        async def answer(question: Any, text: str = text) -> OsTexts:
            assert question == ReadOsTexts(name="noop", paths=("create",))
            return OsTexts(files=(OsText(path="create", mode=0o755, text=text),))

        api.services.agents[node_uuid(number)] = (f"node{number}.example.com", answer)
    assert await api.get("os/noop/difference") == {
        "usual": "node1.example.com",
        "nodes": {
            "node3.example.com": [
                "--- node1.example.com:create",
                "+++ node3.example.com:create",
                "@@ -1 +1 @@",
                "-one",
                "+two",
            ]
        },
    }
    with pytest.raises(ApiError, match="nosuch"):
        await api.get("os/nosuch/difference")


async def test_tags_of_every_kind(api: Api) -> None:
    api.queue.put(instance(1, tags=("b", "a")))
    assert await api.get("tags/instance/web1") == {"tags": ["a", "b"]}
    for path in ("tags/cluster", "tags/node/node1", "tags/nodegroup/default", "tags/group/default"):
        assert await api.get(path) == {"tags": []}
    for path in ("tags/colour/x", "tags/node", "tags/cluster/x"):
        with pytest.raises(ApiError, match="tags"):
            await api.get(path)


async def test_tags_of_all_objects_say_where_they_are(api: Api) -> None:
    api.queue.put(instance(1, tags=("b", "a")))
    api.queue.put(instance(2, tags=("rack:7",)))
    assert await api.get("tags") == {
        "tags": [
            {"path": "/instances/web1.example.com", "tag": "a"},
            {"path": "/instances/web1.example.com", "tag": "b"},
            {"path": "/instances/web2.example.com", "tag": "rack:7"},
        ]
    }


async def test_a_token_is_made_for_a_host_name_only(api: Api) -> None:
    assert await api.post("tokens", {"name": "Node4.example.com"}) == {
        "token": "gantry-join-1:node4.example.com"
    }
    for name in ("../x", "", "a b"):
        with pytest.raises(ApiError):
            await api.post("tokens", {"name": name})


async def test_joining_needs_a_token_that_the_cluster_knows(api: Api) -> None:
    body = {"secret": "right", "csr": "CSR", "address": "127.1.0.4", "port": 1811}
    with pytest.raises(ApiError, match="token"):
        await api.post("join", body)
    assert not api.services.joined
    token = Token(uuid=Uuid("t"), name="node4", secret_hash=secret_hash("right"), expires=9e9)
    api.queue.put(token)
    assert (await api.post("join", body))["name"] == "node4.example.com"
    with pytest.raises(ApiError, match="too long"):
        await api.post("join", {**body, "csr": "x" * 20_000})


async def test_the_state_is_copied(api: Api) -> None:
    assert await api.post("state/backup") == {"path": "/var/lib/gantry/backup/state-1.db"}


async def test_whoever_destroys_the_cluster_gets_an_answer_before_the_master_ends(
    api: Api,
) -> None:
    api.queue.at_once = True
    api.queue.put(msgspec.structs.replace(api.queue.cluster.cluster, destroyed=True))
    body = {"ops": [{"OP_ID": "OP_CLUSTER_DESTROY"}], "request_id": "r"}
    assert (await api.post("jobs?wait=1", body))["status"] == "success"
    assert api.services.ended
