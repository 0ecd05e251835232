"""A changed snapshot is what one made anew would be; what is promised fits what is there."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.cluster import entities, instance, node_uuid
from tests.unit.operations.scene import ADD, Given, check, facts, live

from gantry.model.entities import AdminState, AnyEntity, Cluster, Instance
from gantry.model.errors import Rejected
from gantry.model.snapshot import Snapshot, build

_INSTANCES = st.builds(
    lambda number, node, state, memory, name: instance(
        number,
        node,
        admin_state=state,
        beparams={} if memory is None else {"maxmem": memory},
        name=f"{name}{number}.example.com",
    ),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from(AdminState),
    st.none() | st.integers(1, 4096),
    st.sampled_from(["web", "db"]),
)
_CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(_INSTANCES, min_size=1, max_size=3)),
        st.tuples(st.just("delete"), st.integers(1, 6)),
        st.tuples(st.just("cluster"), st.integers(1, 512)),
    ),
    max_size=12,
)


def _unique(made: list[Instance]) -> list[Instance]:
    return list({one.uuid: one for one in made}.values())


def _changed(cluster: Snapshot, action: str, what: Any) -> Snapshot:
    revision = cluster.revision + 1
    if action == "put":
        return cluster.with_changes(revision, _unique(what))
    if action == "delete":
        gone = cluster.instances.get(instance(what).uuid)
        return cluster.with_changes(revision, [], [gone] if gone else [])
    settings_ = msgspec.structs.replace(cluster.cluster, beparams={"maxmem": what})
    return cluster.with_changes(revision, [settings_])


@settings(deadline=None)
@given(_CHANGES)
def test_changes_lead_to_what_a_new_snapshot_would_be(changes: list[tuple[str, Any]]) -> None:
    cluster = build(1, entities())
    for action, what in changes:
        cluster = _changed(cluster, action, what)
    everything: list[AnyEntity] = [
        cluster.cluster,
        *cluster.groups.values(),
        *cluster.nodes.values(),
        *cluster.instances.values(),
    ]
    assert cluster == build(cluster.revision, everything)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3)), max_size=30))
def test_no_node_is_ever_promised_more_than_it_has(wishes: list[tuple[int, int]]) -> None:
    nodes = {node_uuid(number): live(facts(memory_total=4096)) for number in (1, 2, 3)}
    cluster, given_ = build(1, entities(), nodes), Given()
    for number, (memory, node) in enumerate(wishes):
        op = {
            **ADD,
            "instance_name": f"new{number}.example.com",
            "beparams": {"memory": memory},
            "nics": [{}],
            **({"pnode": f"node{node}"} if node else {}),
        }
        try:
            plan = check(cluster, op, given_)
        except Rejected:
            continue
        cluster = cluster.with_changes(cluster.revision + 1, [plan.instance])
    assert all((cluster.free_memory(node) or 0) >= 0 for node in nodes)
    macs = [nic.mac for one in cluster.instances.values() for nic in one.nics]
    assert len(macs) == len(set(macs))


def test_free_memory_is_not_known_before_the_node_has_spoken() -> None:
    cluster = build(1, entities())
    assert cluster.free_memory(node_uuid(1)) is None
    assert cluster.free_disk(node_uuid(1)) is None


def test_the_exact_name_wins_over_longer_ones() -> None:
    cluster = build(1, [*entities(), instance(1), instance(11)])
    assert cluster.instance("web1").name == "web1.example.com"
    assert cluster.instance("web11").name == "web11.example.com"


def test_an_empty_name_is_nobody() -> None:
    cluster = build(1, [*entities(), instance(1)])
    for name in ("", " ", "."):
        try:
            cluster.instance(name)
        except Rejected as error:
            assert "there is no instance" in error.message
        else:
            raise AssertionError(name)


def test_the_cluster_itself_is_shared_where_only_instances_change() -> None:
    before = build(1, [*entities(), instance(1)])
    after = before.with_changes(2, [instance(1, tags=("a",))])
    assert after.nodes is before.nodes
    assert isinstance(after.cluster, Cluster)
    assert after.promised == before.promised
