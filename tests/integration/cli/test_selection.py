"""Commands that mean instances or jobs by what they are, not by name."""

from __future__ import annotations

import pytest
from tests.integration.cli.conftest import Commands


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [
        ("--node node1", [1, 2]),
        ("--primary node2.example.com", [3]),
        ("--tags tier:1", [2]),
        ("--tags env:test nonsense", [2]),
    ],
)
async def test_selectors(gnt: Commands, selector: str, wanted: list[int]) -> None:
    gnt.queue.at_once = True
    assert (await gnt(f"gnt-instance stop --force-multiple {selector}")).status == 0
    names = [submission.ops[0]["instance_name"] for submission in gnt.queue.submissions]
    assert names == [f"web{number}.example.com" for number in wanted]


async def test_cancel_priority_and_archive(gnt: Commands) -> None:
    await gnt("gnt-debug delay --submit 5")
    await gnt("gnt-debug delay --submit 5")
    assert (await gnt("gnt-job change-priority --priority high 1")).status == 0
    assert gnt.queue.jobs()[0].priority == -10
    refused = await gnt("gnt-job archive 1")
    assert refused.status == 1
    assert "job 1" in refused.err
    assert (await gnt("gnt-job cancel 1")).status == 0
    assert (await gnt("gnt-job cancel --pending")).status != 0
    assert (await gnt("gnt-job cancel --pending -f")).status == 0
    assert gnt.queue.cancelled == [(1, False), (2, False)]
    assert (await gnt("gnt-job archive 1")).status == 0
    assert (await gnt("gnt-job autoarchive all")).out == "Archived 1 jobs\n"
