"""What proves that a guest is dead on a node, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.operations.scene import NODE1, WEB1, live, snapshot, up, web

from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestState, NodeLive
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import death
from gantry.operations.steps.death import Source

SILENT = {NODE1: NodeLive(reachable=False, problem="its event stream ended")}
SILENT_WITH_WORD = {
    NODE1: NodeLive(reachable=False, guests=up(state=GuestState.STOPPED), problem="silent")
}
OFFLINE: Mapping[Uuid, Mapping[str, Any]] = {NODE1: {"offline": True}}


def source(cluster: Snapshot) -> Source | None:
    found = death.proof(cluster, WEB1, cluster.nodes[NODE1])
    return found.source if found else None


@pytest.mark.parametrize("state", [GuestState.STOPPED, GuestState.SHUT_DOWN, GuestState.DIED])
def test_an_agent_that_is_heard_is_believed(state: GuestState) -> None:
    assert source(snapshot(nodes={NODE1: live(guests=up(state=state))})) is Source.AGENT
    assert source(snapshot(nodes={NODE1: live()})) is Source.AGENT


@pytest.mark.parametrize("state", [GuestState.RUNNING, GuestState.PAUSED])
@pytest.mark.parametrize("change", [{}, OFFLINE])
def test_a_guest_that_is_up_is_not_dead_whatever_the_node_is_marked(
    state: GuestState, change: Mapping[Uuid, Mapping[str, Any]]
) -> None:
    cluster = snapshot(nodes={NODE1: live(guests=up(state=state))}, change=change)
    assert source(cluster) is None
    with pytest.raises(Rejected) as caught:
        death.proven(cluster, web(), cluster.nodes[NODE1], "start instance web1 on node2")
    assert caught.value.reason is Reason.STATE
    assert "gnt-instance shutdown web1.example.com" in caught.value.hint
    assert f"gnt-node end-guest node1.example.com {WEB1}" in caught.value.hint


def test_silence_proves_nothing_whatever_was_said_before() -> None:
    for nodes in (SILENT, SILENT_WITH_WORD):
        assert source(snapshot(nodes=nodes)) is None


def test_the_operators_word_counts_where_the_agent_is_not_heard() -> None:
    assert source(snapshot(nodes=SILENT, change=OFFLINE)) is Source.OPERATOR


def test_without_proof_the_ways_out_are_named() -> None:
    cluster = snapshot(nodes=SILENT)
    with pytest.raises(Rejected) as caught:
        death.proven(cluster, web(), cluster.nodes[NODE1], "start instance web1 on node2")
    error = caught.value
    assert error.message.startswith("cannot start instance web1 on node2: nothing proves")
    assert "its event stream ended" in error.message
    assert "systemctl start gantry-agent" in error.hint
    assert "gnt-node modify --offline=yes node1.example.com" in error.hint
    assert (error.node, error.object_name) == ("node1.example.com", "web1.example.com")
    assert error.reason is Reason.ENVIRONMENT


def test_with_proof_its_words_are_for_the_log() -> None:
    cluster = snapshot(nodes=SILENT, change=OFFLINE)
    found = death.proven(cluster, web(), cluster.nodes[NODE1], "start it")
    assert "node1.example.com is marked offline" in found.words


def test_power_that_was_taken_is_proof_only_of_a_node_that_is_marked() -> None:
    oob = {"oob_program": "/oob"}
    off = {NODE1: {"powered": False, "offline": True}}
    assert source(snapshot(nodes=SILENT, change=off, ndparams=oob)) is Source.FENCE
    assert source(snapshot(nodes=SILENT, change=off)) is Source.OPERATOR, "nothing switches it"
    stale = {NODE1: {"powered": False}}
    assert source(snapshot(nodes=SILENT, change=stale, ndparams=oob)) is None
    with pytest.raises(Rejected) as caught:
        cluster = snapshot(nodes=SILENT, ndparams=oob)
        death.proven(cluster, web(), cluster.nodes[NODE1], "start instance web1 on node2")
    assert "gnt-node power off --ignore-status node1.example.com" in caught.value.hint
