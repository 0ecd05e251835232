"""Bundles over the API: sent, listed without their contents, compared with nodes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.fakes.cluster import CLUSTER, node_uuid
from tests.faults.situations import BUNDLES, DEFINITION, VERSIONS
from tests.integration.api.conftest import Api

from gantry.client.errors import ApiError
from gantry.model.bundle_orders import FileKind, InstalledBundle, InstalledFile
from gantry.model.entities import Rollout
from gantry.model.errors import Unavailable
from gantry.model.live import NodeFacts, NodeLive, OsFacts

FIRST, SECOND = BUNDLES


async def test_a_bundle_is_kept_and_known_by_its_hash(api: Api) -> None:
    body = {"packed": base64.b64encode(FIRST.packed).decode()}
    made = await api.post("hooks/bundles", body)
    assert made == {"number": 1, "sha256": FIRST.sha256}
    assert await api.post("hooks/bundles", body) == made


@pytest.mark.parametrize("packed", ["", "AAAA", "no base64!", 7, None])
async def test_what_is_no_bundle_is_refused(api: Api, packed: Any) -> None:
    with pytest.raises(ApiError) as caught:
        await api.post("hooks/bundles", {"packed": packed})
    assert caught.value.code == "rejected"


async def test_the_list_shows_files_and_no_contents(api: Api) -> None:
    for one in BUNDLES:
        api.queue.put(one)
    wanted = {node_uuid(2): 1, node_uuid(9): 1}
    api.queue.put(Rollout(uuid=CLUSTER, name="hooks", everywhere=2, nodes=wanted))
    found = await api.get("hooks/bundles")
    assert [one["number"] for one in found["bundles"]] == [1, 2]
    assert (found["everywhere"], found["nodes"]) == (2, {"node2.example.com": 1})
    [first, _] = found["bundles"][0]["files"]
    assert first["path"] == "instance-add-pre.d/10-all"
    assert "packed" not in found["bundles"][0]


async def test_nodes_are_asked_what_they_have(api: Api) -> None:
    for one in BUNDLES:
        api.queue.put(one)
    api.queue.put(Rollout(uuid=CLUSTER, name="hooks", everywhere=2))

    async def second(question: object) -> InstalledBundle:
        local = InstalledFile(path="x-pre.d/1", kind=FileKind.LOCAL)
        return InstalledBundle(sha256=SECOND.sha256, files=(local,))

    async def unknown(question: object) -> InstalledBundle:
        return InstalledBundle(sha256="f" * 64)

    async def away(question: object) -> InstalledBundle:
        raise Unavailable("node node3 does not answer")

    for number, answer in ((1, second), (2, unknown), (3, away)):
        api.services.agents[node_uuid(number)] = (f"node{number}.example.com", answer)
    found = await api.get("hooks/installed")
    assert [(one["wanted"], one["number"]) for one in found] == [(2, 2), (2, None), (2, None)]
    assert [one["before"] for one in found] == [1, 1, 1]
    assert found[0]["files"][0]["kind"] == "local"
    assert found[2]["problem"] == "node node3 does not answer"
    [only] = await api.get("hooks/installed", node="node2")
    assert only["sha256"] == "f" * 64


async def test_versions_of_a_definition_are_counted_apart(api: Api) -> None:
    packed = base64.b64encode(VERSIONS[0].packed).decode()
    made = await api.post("os/bundles", {"name": "mine", "packed": packed})
    assert made == {"number": 1, "sha256": VERSIONS[0].sha256}
    for one in (*VERSIONS, *BUNDLES):
        api.queue.put(one)
    found = await api.get("os/bundles", name="mine")
    assert [one["sha256"] for one in found["bundles"]] == [one.sha256 for one in VERSIONS]
    for name in ("../x", "", "a.b"):
        with pytest.raises(ApiError, match="cannot be the name"):
            await api.post("os/bundles", {"name": name, "packed": packed})
        with pytest.raises(ApiError, match="cannot be the name"):
            await api.get("os/bundles", name=name)


async def test_nodes_are_asked_for_all_that_was_pushed_and_say_what_is_local(api: Api) -> None:
    for one in VERSIONS:
        api.queue.put(one)
    api.queue.put(Rollout(uuid=CLUSTER, name=DEFINITION, target=DEFINITION, everywhere=2))
    oses = (
        OsFacts(name="hand", path="/srv/ganeti/os/hand"),
        OsFacts(name="mine", path="/srv/ganeti/os/mine"),
        OsFacts(name="packaged", path="/usr/share/ganeti/os/packaged"),
    )
    api.queue.set_live(node_uuid(2), NodeLive(reachable=True, facts=NodeFacts(oses=oses)))

    async def second(question: Any) -> InstalledBundle:
        assert question.target == DEFINITION
        return InstalledBundle(sha256=VERSIONS[1].sha256)

    for number in (1, 2, 3):
        api.services.agents[node_uuid(number)] = (f"node{number}.example.com", second)
    found = await api.get("os/installed")
    assert [(one["name"], one["wanted"], one["number"]) for one in found] == [
        *[("mine", 2, 2)] * 3,
        ("hand", None, 0),
    ]
    assert [(one["path"], one["kind"]) for one in found[3]["files"]] == [("hand", "local")]
    [only] = await api.get("os/installed", node="node2", name="mine")
    assert only["node"] == "node2.example.com"
