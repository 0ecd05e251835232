"""A node that comes with another bundle than it is to have gets it, once each time it comes."""

from __future__ import annotations

from typing import Any

from tests.fakes.clock import FakeClock
from tests.fakes.cluster import CLUSTER, entities, node_uuid
from tests.fakes.queue import FakeQueue
from tests.faults.situations import BUNDLES, DEFINITION, VERSIONS

from gantry.model.entities import Rollout
from gantry.model.live import NodeFacts, NodeLive
from gantry.supervision.bundles import CatchUp

FIRST, SECOND = (one.sha256 for one in BUNDLES)


def live(sha256: str) -> NodeLive:
    return NodeLive(reachable=True, facts=NodeFacts(bundles={"hooks": sha256}))


def queue(there: list[str], **rollout: Any) -> FakeQueue:
    made = Rollout(uuid=CLUSTER, name="hooks", **rollout)
    lives = {node_uuid(number + 1): live(sha256) for number, sha256 in enumerate(there)}
    return FakeQueue([*entities(3), *BUNDLES, made], lives)


def submitted(found: FakeQueue) -> list[list[str]]:
    return [one.ops[0]["node_names"] for one in found.submissions]


async def test_where_nobody_pushed_nothing_is_done() -> None:
    found = FakeQueue([*entities(3), *BUNDLES], {node_uuid(1): live("")})
    assert not await CatchUp(found, FakeClock()).look()
    assert found.submissions == []


async def test_those_that_are_behind_get_what_they_are_to_have() -> None:
    found = queue([FIRST, "", SECOND], everywhere=1, nodes={node_uuid(3): 2})
    catch_up = CatchUp(found, FakeClock())
    assert not await catch_up.look()
    assert submitted(found) == [["node2.example.com"]]
    assert found.submissions[0].ops[0]["catch_up"] is True
    assert not await catch_up.look()
    assert len(found.submissions) == 1, "not over and over"
    catch_up.came(node_uuid(2))
    await catch_up.look()
    assert submitted(found) == [["node2.example.com"]] * 2


async def test_nodes_that_are_to_have_different_ones_get_a_job_each() -> None:
    found = queue(["", "", ""], everywhere=1, nodes={node_uuid(3): 2})
    await CatchUp(found, FakeClock()).look()
    assert submitted(found) == [["node1.example.com", "node2.example.com"], ["node3.example.com"]]


async def test_a_node_that_is_away_is_left_alone() -> None:
    found = queue([FIRST, FIRST, FIRST], everywhere=2)
    for number in (1, 2, 3):
        gone = NodeLive(reachable=False, facts=NodeFacts(bundles={"hooks": FIRST}))
        found.set_live(node_uuid(number), gone)
    await CatchUp(found, FakeClock()).look()
    assert found.submissions == []


async def test_a_bundle_that_was_taken_away_goes_from_nodes_that_come_back() -> None:
    found = queue(["", FIRST, ""], everywhere=0)
    await CatchUp(found, FakeClock()).look()
    assert submitted(found) == [["node2.example.com"]]


async def test_definitions_are_brought_apart_from_hooks() -> None:
    found = queue(["", FIRST, FIRST], everywhere=1)
    for one in VERSIONS:
        found.put(one)
    wanted = Rollout(uuid=node_uuid(9), name=DEFINITION, target=DEFINITION, everywhere=2)
    found.put(wanted)
    there = {"hooks": FIRST, DEFINITION: VERSIONS[1].sha256}
    found.set_live(node_uuid(3), NodeLive(reachable=True, facts=NodeFacts(bundles=there)))
    await CatchUp(found, FakeClock()).look()
    assert [(one.ops[0]["OP_ID"], one.ops[0].get("os_name")) for one in found.submissions] == [
        ("OP_HOOK_PUSH", None),
        ("OP_OS_PUSH", "mine"),
    ]
    assert submitted(found) == [["node1.example.com"], ["node1.example.com", "node2.example.com"]]
