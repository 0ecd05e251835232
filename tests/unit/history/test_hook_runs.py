"""The index of runs in the master's history file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.cluster import node_uuid
from tests.support.hook_runs import run

from gantry.history.file import HistoryUnavailable
from gantry.history.hook_runs import SqliteHookRuns, open_hook_runs
from gantry.model.hook_orders import ScriptStatus
from gantry.model.hook_runs import HookRunChoice

RUNS = [
    run(1),
    run(2, object="web2.example.com", node="node2.example.com", job=8),
    run(3, phase="post", script="20-tell", operation="instance-stop"),
    run(4, status=ScriptStatus.FAILED, directory="instance-stop-pre.d"),
    run(5, kind="CLUSTER", object="web1.example.com", job=0),
    run(6, object="web1.other.org", node="node1.other.org"),
]


@pytest.fixture
async def index(tmp_path: Path) -> SqliteHookRuns:
    found = await open_hook_runs(tmp_path / "history.db")
    await found.add(RUNS)
    return found


async def ids(index: SqliteHookRuns, **choice: Any) -> list[int]:
    return [int(one.id, 16) for one in await index.find(HookRunChoice(**choice))]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"limit": 2}, [6, 5]),
        ({"instance": "web1.example.com"}, [4, 3, 1]),
        ({"instance": "web2"}, [2]),
        ({"instance": "web"}, []),
        ({"node": "node2"}, [2]),
        ({"node": "node1.other.org"}, [6]),
        ({"operation": "instance-stop"}, [3]),
        ({"script": "20-tell"}, [3]),
        ({"script": "instance-stop-pre.d/10-check"}, [4]),
        ({"script": "instance-start-pre.d/20-tell"}, [3]),
        ({"phase": "post"}, [3]),
        ({"job": 8}, [2]),
        ({"job": 0}, []),
        ({"failed": True}, [4]),
        ({"since": 1_800_000_005.0}, [6, 5]),
        ({"instance": "web1.example.com", "failed": True, "node": "node1"}, [4]),
    ],
)
async def test_runs_are_chosen(
    index: SqliteHookRuns, choice: dict[str, Any], wanted: list[int]
) -> None:
    assert await ids(index, **choice) == wanted
    await index.close()


async def test_the_same_run_again_changes_nothing_and_all_is_there_after_closing(
    index: SqliteHookRuns, tmp_path: Path
) -> None:
    await index.add(RUNS[:2], [(node_uuid(1), "ab", 5)])
    await index.close()
    again = await open_hook_runs(tmp_path / "history.db")
    assert await again.find(HookRunChoice()) == RUNS[::-1]
    assert await again.ledgers() == {node_uuid(1): ("ab", 5)}
    await again.close()


async def test_a_run_is_found_by_the_beginning_of_its_id(index: SqliteHookRuns) -> None:
    await index.add([run(0xABCDEF000001), run(0xABCDEF000002)])
    assert await index.get("abcdef000001") == run(0xABCDEF000001)
    assert await index.get(RUNS[0].id[:12]) == RUNS[0]
    assert await index.get("abcdef") is None
    assert await index.get("ffff") is None
    await index.close()


async def test_the_oldest_are_forgotten(index: SqliteHookRuns) -> None:
    await index.prune(1_800_000_002.0, 100)
    assert await ids(index) == [6, 5, 4, 3, 2]
    await index.prune(0.0, 3)
    assert await ids(index) == [6, 5, 4]
    await index.prune(0.0, 3)
    assert await ids(index) == [6, 5, 4]
    await index.close()


async def test_a_damaged_file_is_set_aside_for_the_nodes_have_it_all(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"this is no database at all" * 1000)
    index = await open_hook_runs(tmp_path / "index.db")
    assert await index.find(HookRunChoice()) == []
    assert await index.ledgers() == {}
    await index.add(RUNS)
    assert len(await index.find(HookRunChoice())) == len(RUNS)
    await index.close()
    assert len(list(tmp_path.glob("index.db.damaged-*"))) == 1


async def test_a_place_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnavailable, match="cannot be used"):
        await open_hook_runs(tmp_path / "nowhere/index.db")
