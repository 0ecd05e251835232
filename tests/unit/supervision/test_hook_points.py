"""What is told of the phases of hooks, made of orders and answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.orders import HookDirectory, HooksRan, HooksRun, ScriptResult, ScriptStatus
from gantry.supervision.hook_points import KEPT, HookPoints, observed

ENVIRONMENT = {
    "GANETI_OP_CODE": "OP_INSTANCE_STARTUP",
    "GANETI_OP_TARGET": "web1.example.com",
    "SECRET": "never told",
}


def order(directory: str = "instance-start-pre.d") -> HooksRun:
    return HooksRun(
        directories=(HookDirectory(name=directory, version=1),),
        environments={"1": ENVIRONMENT},
        main_version=1,
        job=7,
        run_id="run",
        attempt=2,
    )


def result(script: str, exit_status: int | None = 0, **fields: Any) -> ScriptResult:
    status = ScriptStatus.SUCCEEDED if exit_status == 0 else ScriptStatus.FAILED
    given: dict[str, Any] = {"status": status, **fields}
    return ScriptResult(
        directory="instance-start-pre.d", script=script, exit_status=exit_status, **given
    )


async def told(directory: str, *results: ScriptResult) -> list[dict[str, Any]]:
    points = HookPoints()

    async def answer() -> HooksRan:
        return HooksRan(results=results)

    await observed(points, "node1.example.com", order(directory), answer())
    return points.after(0)


async def test_a_phase_tells_its_begin_every_script_and_its_end() -> None:
    events = await told(
        "instance-start-pre.d",
        result("10-a"),
        result("20-b", 3),
        result("30-c", None, signal=9),
        result("40.sh", None, status=ScriptStatus.SKIPPED),
    )
    assert [(one["event"], one["state"]) for one in events] == [
        ("hooks", "begun"),
        ("hook-script", "succeeded"),
        ("hook-script", "failed"),
        ("hook-script", "failed"),
        ("hooks", "denied"),
    ]
    assert {one["job"] for one in events} == {7}
    assert {(one["operation"], one["phase"], one["target"], one["node"]) for one in events} == {
        ("instance-start", "pre", "web1.example.com", "node1.example.com")
    }
    assert (events[2]["exit_status"], events[3]["signal"]) == (3, 9)
    assert (events[4]["scripts"], events[4]["failed"]) == (3, 2)
    assert "never told" not in str(events)


@pytest.mark.parametrize("phase", ["post", "fail"])
async def test_only_a_pre_phase_denies(phase: str) -> None:
    events = await told(f"instance-start-{phase}.d", result("10-a", 1))
    assert (events[-1]["phase"], events[-1]["state"]) == (phase, "failed")


async def test_where_nothing_runs_nothing_is_told() -> None:
    skipped = result("40.sh", None, status=ScriptStatus.SKIPPED)
    assert await told("instance-start-pre.d") == []
    assert await told("instance-start-pre.d", skipped) == []


async def test_a_long_phase_is_told_while_it_runs() -> None:
    told_one, end = asyncio.Event(), asyncio.Event()
    points = HookPoints(told_one.set)

    async def answer() -> HooksRan:
        await end.wait()
        return HooksRan()

    running = asyncio.create_task(observed(points, "node1", order(), answer()))
    async with asyncio.timeout(100):
        await told_one.wait()
        assert [one["state"] for one in points.after(0)] == ["begun"]
        end.set()
        await running
    assert [one["state"] for one in points.after(0)] == ["begun", "succeeded"]


@pytest.mark.parametrize(
    ("error", "state"),
    [(Unavailable("no route"), "unreachable"), (OperationFailed("x"), "refused")],
)
async def test_a_node_that_does_not_run_them_is_told(error: Exception, state: str) -> None:
    points = HookPoints()

    async def answer() -> HooksRan:
        raise error

    with pytest.raises(type(error)):
        await observed(points, "node1", order(), answer())
    assert [one["state"] for one in points.after(0)] == [state]


def test_who_is_too_slow_is_told_what_it_missed() -> None:
    points = HookPoints()
    for number in range(KEPT + 5):
        points.add({"number": number})
    assert points.after(points.last) == []
    assert points.after(points.last - 1) == [{"number": KEPT + 4}]
    first, second, *_ = points.after(2)
    assert first == {"event": "missed", "count": 3}
    assert second == {"number": 5}
