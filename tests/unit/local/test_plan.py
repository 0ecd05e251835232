"""What bringing a cluster up takes, from every state that it may be found in."""

import msgspec
import pytest

from gantry.local.description import Description, LocalNode, SimulatedNode
from gantry.local.plan import Kind, Step, nodes_for, plan, simulated_for
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
        Step(Kind.MASTER, 2),
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


def _simulated(*members: bool) -> tuple[SimulatedNode, ...]:
    return tuple(SimulatedNode(number=n + 1, member=m) for n, m in enumerate(members))


def test_simulated_nodes_that_are_members_are_started_before_the_master_others_join_after() -> None:
    cluster = msgspec.structs.replace(_cluster(True, kernel_set=True), simulated=_simulated(True))
    assert plan(cluster)[-2:] == (Step(Kind.SIMULATE), Step(Kind.MASTER, 1))
    cluster = msgspec.structs.replace(cluster, simulated=_simulated(False, False))
    assert plan(cluster)[-2:] == (Step(Kind.MASTER, 1), Step(Kind.JOIN_SIMULATED))
    cluster = msgspec.structs.replace(cluster, simulated=_simulated(True, False))
    assert [step.kind for step in plan(cluster)[-3:]] == [
        Kind.SIMULATE,
        Kind.MASTER,
        Kind.JOIN_SIMULATED,
    ]


def test_as_many_simulated_nodes_as_are_wanted_and_never_fewer_than_there_are() -> None:
    assert simulated_for((), None) == ()
    assert [node.label for node in simulated_for((), 2)] == ["sim1", "sim2"]
    assert simulated_for(_simulated(True, True), None) == _simulated(True, True)
    assert simulated_for(_simulated(True, False), 3) == _simulated(True, False, False)
    # What never joined need not be.
    assert simulated_for(_simulated(True, False), 1) == _simulated(True)
    with pytest.raises(Rejected, match="2 simulated nodes already, not 1"):
        simulated_for(_simulated(True, True), 1)


@pytest.mark.parametrize("count", [-1, 251])
def test_more_simulated_nodes_than_addresses_are_refused(count: int) -> None:
    with pytest.raises(Rejected, match="simulated"):
        simulated_for((), count)


def test_numbers_of_simulated_nodes_that_are_gone_are_not_given_again() -> None:
    left = (SimulatedNode(number=2, member=True),)
    assert [node.number for node in simulated_for(left, 3)] == [2, 3, 4]
