"""What bringing a cluster up takes, from every state that it may be found in."""

import pytest

from gantry.local.description import Description, LocalNode
from gantry.local.plan import Kind, Step, nodes_for, plan
from gantry.model.errors import Rejected


def _cluster(*members: bool, kernel_set: bool = False, resting: bool = False) -> Description:
    nodes = tuple(LocalNode(number=n + 1, member=m) for n, m in enumerate(members))
    return Description(block="127.7.9", nodes=nodes, kernel_set=kernel_set, resting=resting)


def test_a_new_cluster_is_initialised_started_joined_and_given_a_kernel() -> None:
    assert plan(_cluster(False, False, False)) == (
        Step(Kind.INITIALISE, 1),
        Step(Kind.AGENT, 1),
        Step(Kind.MASTER, 1),
        Step(Kind.JOIN, 2),
        Step(Kind.JOIN, 3),
        Step(Kind.KERNEL),
    )


def test_a_complete_cluster_is_only_started() -> None:
    steps = plan(_cluster(True, True, kernel_set=True))
    assert steps == (
        Step(Kind.FILES, 1),
        Step(Kind.FILES, 2),
        Step(Kind.AGENT, 1),
        Step(Kind.AGENT, 2),
        Step(Kind.MASTER, 1),
    )


def test_a_half_made_cluster_gets_what_is_missing() -> None:
    steps = plan(_cluster(True, True, False))
    assert [step for step in steps if step.kind in (Kind.INITIALISE, Kind.JOIN)] == [
        Step(Kind.JOIN, 3)
    ]
    assert steps[-1] == Step(Kind.KERNEL)


def test_agents_run_before_the_master_and_the_master_before_joins() -> None:
    kinds = [step.kind for step in plan(_cluster(True, True, False, resting=True))]
    assert kinds.index(Kind.MASTER) > max(n for n, kind in enumerate(kinds) if kind is Kind.AGENT)
    assert kinds.index(Kind.MASTER) < kinds.index(Kind.JOIN)
    assert kinds[-1] is Kind.RESUME


def test_three_nodes_are_made_where_nothing_is_said() -> None:
    assert [node.number for node in nodes_for((), None)] == [1, 2, 3]


def test_existing_nodes_stay_and_new_ones_follow() -> None:
    existing = (LocalNode(number=1, member=True), LocalNode(number=2, member=True))
    assert nodes_for(existing, None) == existing
    assert nodes_for(existing, 3) == (*existing, LocalNode(number=3))


def test_nodes_that_never_became_members_may_be_left_out() -> None:
    existing = (LocalNode(number=1, member=True), LocalNode(number=2))
    assert nodes_for(existing, 1) == existing[:1]


def test_members_are_never_left_out() -> None:
    existing = (LocalNode(number=1, member=True), LocalNode(number=2, member=True))
    with pytest.raises(Rejected, match="has 2 nodes already, not 1"):
        nodes_for(existing, 1)


@pytest.mark.parametrize("count", [0, -1, 100])
def test_a_senseless_number_of_nodes_is_refused(count: int) -> None:
    with pytest.raises(Rejected, match="1 to 99 nodes"):
        nodes_for((), count)
