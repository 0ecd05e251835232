"""What modifying commands tell of what they changed."""

from __future__ import annotations

import asyncio

import msgspec
from tests.integration.cli.conftest import Commands

from gantry.model.names import JobId


async def test_changes_are_told_as_ganeti_tells_them(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance modify -B memory=96M web2"))
    number = await gnt.queue.arrived.get()
    changed_to(gnt, number, [["be/memory", 96], ["os/release", "trixie"]])
    await gnt.queue.end(number)
    done = await running
    assert (done.status, done.err) == (0, "")
    assert done.out == "Modified instance web2\n - be/memory -> 96\n - os/release -> trixie\n"


async def test_a_dry_run_tells_of_no_changes(gnt: Commands) -> None:
    """Its result is what would be done, and not what was changed."""
    running = asyncio.create_task(gnt("gnt-instance modify --dry-run -B memory=96M web2"))
    number = await gnt.queue.arrived.get()
    changed_to(gnt, number, {"dry_run": True, "effects": [], "complete": True})
    await gnt.queue.end(number)
    done = await running
    assert (done.status, done.err) == (0, "")
    assert "Modified" not in done.out


async def test_with_json_there_is_only_the_object(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-node modify --json --drained yes node2"))
    number = await gnt.queue.arrived.get()
    changed_to(gnt, number, [["drained", True]])
    await gnt.queue.end(number)
    assert (await running).json["results"] == [[["drained", True]]]


def changed_to(gnt: Commands, number: JobId, result: object) -> None:
    kept = gnt.queue._jobs[number]
    ops = tuple(msgspec.structs.replace(op, result=result) for op in kept.job.ops)
    kept.job = msgspec.structs.replace(kept.job, ops=ops)
