"""A dry run of every operation does nothing, and says what the operation then does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from tests.fakes.agents import Call
from tests.fakes.cluster import FakeCluster
from tests.faults.breaking import look, make
from tests.faults.situation import Situation
from tests.faults.situations import SITUATIONS

from gantry.hooks.table import CONFIG_UPDATE, ROWS
from gantry.model.hook_orders import HooksRun
from gantry.model.jobs import DryRun, Job, JobStatus

Place = tuple[str, str, str, str]
"""Phase, node, directory, script."""
PHASES = ("pre", "post", "config-update")


def put_scripts(cluster: FakeCluster) -> None:
    """Two into each directory of each operation, on all nodes."""
    prefixes = {row.directory(version) for row in ROWS.values() for version in (1, 2)}
    for node in cluster.world.nodes.values():
        for name in ("10-first", "20-second"):
            node.add_hook(f"{CONFIG_UPDATE}-post.d", name)
            for prefix in prefixes:
                for phase in ("pre", "post", "fail"):
                    node.add_hook(f"{prefix}-{phase}.d", name)


def foreseen(rows: Iterable[dict[str, Any]]) -> list[Place]:
    found = [(row["phase"], row["node"], row["directory"], row["script"]) for row in rows]
    return [one for one in found if one[0] in PHASES]


def ran(calls: Iterable[Call]) -> Iterator[Place]:
    """What the nodes' answers said, phase by phase."""
    for call in calls:
        if isinstance(order := call.order, HooksRun):
            phase = next(one for one in PHASES if f"/hooks-{one}/" in call.envelope.key)
            names = sorted(
                (script, directory.name)
                for directory in order.directories
                for script in ("10-first", "20-second")
            )
            yield from ((phase, call.node.name, where, name) for name, where in names)


def by_node(places: Iterable[Place]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """In their order on each node; nodes run side by side."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for phase, node, directory, script in places:
        found.setdefault((phase, node), []).append((directory, script))
    return found


def result(job: Job) -> dict[str, Any]:
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    found: dict[str, Any] = job.ops[0].result
    return found


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
async def test_what_it_says_is_what_happens_then(situation: Situation) -> None:
    cluster = await make(situation)
    put_scripts(cluster)
    before, calls = await look(cluster), len(cluster.agents.calls)
    tried = result(await cluster.run(situation.op, secrets=situation.secrets, dry_run=DryRun.YES))
    assert await look(cluster) == before
    assert len(cluster.agents.calls) == calls, "nothing was asked for"
    job = await cluster.run(situation.op, secrets=situation.secrets)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    await cluster.engine.settle()
    happened = by_node(ran(cluster.agents.calls[calls:]))
    said = by_node(foreseen(tried["hooks"]))
    if not tried["complete"]:
        # Whether it changes the configuration depends on what nodes answer.
        said = {place: scripts for place, scripts in said.items() if place in happened}
    assert said == happened
    await cluster.close()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
async def test_with_hooks_only_pre_scripts_run_and_they_are_told(situation: Situation) -> None:
    cluster = await make(situation)
    put_scripts(cluster)
    before, calls = await look(cluster), len(cluster.agents.calls)
    given = {"secrets": situation.secrets, "dry_run": DryRun.HOOKS}
    tried = result(await cluster.run(situation.op, **given))
    await cluster.engine.settle()
    assert await look(cluster) == before
    made = cluster.agents.calls[calls:]
    assert all(isinstance(call.order, HooksRun) and call.order.dry_run for call in made)
    assert {phase for phase, *_ in ran(made)} <= {"pre"}
    assert not {"pre"} & {phase for phase, *_ in foreseen(tried["hooks"])}
    await cluster.close()
