"""What verification says of the site's own checks."""

from __future__ import annotations

import pytest

from gantry.hooks.verdict import NodeScripts
from gantry.operations.cluster.verify import ClusterVerify, VerifyPlan


@pytest.mark.parametrize(("nodes", "heading"), [(1, ["* Hooks Results"]), (0, [])])
def test_a_group_without_nodes_has_no_heading(nodes: int, heading: list[str]) -> None:
    plan = VerifyPlan(now=1.0, nodes=nodes, instances=0, findings=())
    told = ClusterVerify().report(plan, (NodeScripts(node="node1.example.com"),))
    assert [text for text, _ in told] == heading


def test_where_no_script_could_run_there_is_no_heading() -> None:
    plan = VerifyPlan(now=1.0, nodes=1, instances=0, findings=())
    assert ClusterVerify().report(plan, ()) == ()
