"""``gnt-hook history`` and ``show``, over real ledgers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import Commands
from tests.integration.cli.hook_nodes import HookNodes
from tests.support.hook_runs import failed, order, ran, result

from gantry.agent.ledger import Ledger
from gantry.hooks.record import runs_of
from gantry.model.hook_orders import ScriptResult, Stream
from gantry.model.hook_runs import HookRun, HookRunChoice

NODE = "node1.example.com"
BAD = [
    ("--since yesterday", "neither an age"),
    ("--phase during", "there is no phase during"),
    ("--limit 0", "from 1 to 10000"),
    ("--limit 99999", "from 1 to 10000"),
    ("--operation nonsense", "no operation with hooks"),
    ("--job x", "not the number of a job"),
]


@pytest.fixture
def nodes(gnt: Commands, tmp_path: Path) -> HookNodes:
    return HookNodes(tmp_path / "nodes", gnt.services)


def recorded(nodes: HookNodes, given: ScriptResult, text: str = "") -> HookRun:
    """A run on node 1 that wrote ``text``."""
    ledger = Ledger(nodes.roots["node1"], NODE)
    phase = ledger.phase(order())
    assert phase.outputs is not None
    phase.outputs.mkdir(parents=True)
    if text:
        (phase.outputs / "out").write_text(text)
    phase.ended(given)
    [found] = runs_of(order(), NODE, phase.finished(ran(given)).results)
    ledger.close()
    return found


async def test_runs_are_shown_a_line_each(gnt: Commands, nodes: HookNodes) -> None:
    good = recorded(nodes, result("10-check"))
    bad = recorded(nodes, failed("20-deny", duration=1.5))
    gnt.services.hook_runs.runs = [bad, good]
    done = await gnt("gnt-hook history --separator , --no-headers")
    assert done.out.splitlines() == [
        f"{bad.id},2027-01-15 08:00:00,web1.example.com,instance-start,pre,{NODE},"
        "instance-start-pre.d/20-deny,exit 3,1.5,7",
        f"{good.id},2027-01-15 08:00:00,web1.example.com,instance-start,pre,{NODE},"
        "instance-start-pre.d/10-check,ok,0.25,7",
    ]
    rows = (await gnt("gnt-hook history --json")).json
    assert [row["failed"] for row in rows] == [True, False]
    assert {row["origin"] for row in rows} == {"job"}


async def test_choices_are_passed_on_with_whole_names(gnt: Commands, nodes: HookNodes) -> None:
    await gnt(
        "gnt-hook history --instance web1 --node node2 --operation instance-shutdown "
        "--script 10-a --phase pre --job 8 --failed --since 2026-11-20 --limit 5"
    )
    await gnt("gnt-hook history --instance gone --node node9")
    first, second = gnt.services.hook_runs.choices
    assert first == HookRunChoice(
        instance="web1.example.com",
        node="node2.example.com",
        operation="instance-stop",
        script="10-a",
        phase="pre",
        job=8,
        failed=True,
        since=1795132800.0,
        limit=5,
    )
    assert (second.instance, second.node) == ("gone", "node9")


@pytest.mark.parametrize(("given", "said"), BAD)
async def test_what_makes_no_sense_is_refused(
    gnt: Commands, nodes: HookNodes, given: str, said: str
) -> None:
    done = await gnt(f"gnt-hook history {given}")
    assert done.status in (1, 2)
    assert said in done.err


async def shown(gnt: Commands, run: str) -> dict[str, Any]:
    found: dict[str, Any] = (await gnt(f"gnt-hook show {run} --json")).json
    return found


async def test_a_run_is_shown_with_its_output(gnt: Commands, nodes: HookNodes) -> None:
    text = "no room\nfor \x1b[31mred\n"
    one = recorded(nodes, failed(stdout=Stream(size=len(text), file="out")), text)
    gnt.services.hook_runs.runs = [one]
    done = await gnt(f"gnt-hook show {one.id[:6]}")
    assert "result: exit 3\n" in done.out
    assert "started: 2027-01-15 08:00:00\n" in done.out
    assert f"stdout ({len(text)} bytes):\n  no room\n  for \\x1b[31mred\n" in done.out
    assert "stderr: (nothing)" in done.out
    found = await shown(gnt, one.id)
    assert (found["stdout"], found["problem"]) == (text, "")
    assert found["run"]["script"] == "instance-start-pre.d/10-check"
    assert "order" not in found


async def test_a_run_that_the_index_does_not_know_is_looked_for_on_the_nodes(
    gnt: Commands, nodes: HookNodes
) -> None:
    one = recorded(nodes, result())
    assert (await shown(gnt, one.id))["run"]["run"] == one.id
    done = await gnt("gnt-hook show 123456789abc")
    assert done.status == 1
    assert "no run of a hook begins with 123456789abc" in done.err


async def test_without_its_node_the_record_is_shown_and_the_output_is_not(
    gnt: Commands, nodes: HookNodes
) -> None:
    one = recorded(nodes, result())
    gnt.services.hook_runs.runs = [one]
    nodes.away.add("node1")
    done = await gnt(f"gnt-hook show {one.id}")
    assert done.status == 0
    assert f"the output is on node {NODE}: node {NODE} does not answer" in done.out


async def test_output_that_was_thrown_away_is_said_so(gnt: Commands, nodes: HookNodes) -> None:
    one = recorded(nodes, result(stdout=Stream(size=9, file="gone")))
    gnt.services.hook_runs.runs = [one]
    done = await gnt(f"gnt-hook show {one.id}")
    assert "stdout: (thrown away on the node, to make room)" in done.out


@pytest.mark.parametrize("name", ["xyz", "abc", "../../info", "a" * 40])
async def test_what_is_no_id_is_refused(gnt: Commands, nodes: HookNodes, name: str) -> None:
    done = await gnt(f"gnt-hook show {name}")
    assert done.status == 1
    assert done.out == ""
