"""How the master keeps its index of runs complete: told by answers, else by asking."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import entities, node_uuid
from tests.fakes.queue import FakeQueue
from tests.support.hook_runs import order, ran, result

from gantry.agent.ledger import DATABASE, Ledger
from gantry.history.file import HistoryUnavailable
from gantry.history.hook_runs import SqliteHookRuns, open_hook_runs
from gantry.model.errors import Unavailable
from gantry.model.hook_orders import HooksRan, HooksRun
from gantry.model.hook_runs import HookRunChoice, ReadHookRuns
from gantry.model.live import NodeLive
from gantry.ports.agents import Address, Envelope
from gantry.supervision.hook_runs import Bounds, HookRuns, RecordedAgents

NODE = Address(node_uuid(1), "node1.example.com", "127.0.0.1", 1811)
ENVELOPE = Envelope(key="k", job=7, epoch=1, until=5.0, timeout=60.0)


class LedgerAgents:
    """Agents that have a ledger and nothing else; ``asked`` are the pages that were fetched."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ledger = Ledger(root, NODE.name)
        self.asked: list[ReadHookRuns] = []
        self.away = False
        self.lost = False
        """The answers of orders are lost."""

    def scripts(self, *names: str, given: HooksRun | None = None) -> HooksRan:
        """Run these, as the agent would."""
        results = [result(name, started=FakeClock().now()) for name in names]
        phase = self.ledger.phase(given or order())
        for one in results:
            phase.ended(one)
        return phase.finished(ran(*results))

    async def order(self, to: Address, envelope: Any, order: Any, progress: Any = None) -> Any:
        answer = self.scripts("from-order", given=order)
        if self.lost:
            raise Unavailable("the answer is lost")
        return answer

    async def ask(self, to: Address, question: Any, timeout: float) -> Any:
        self.asked.append(question)
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("node1 does not answer")
        return self.ledger.page(question)

    async def cancel(self, to: Address, key: str, epoch: int) -> None: ...

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None: ...

    async def announce(self, to: Address, epoch: int) -> Any: ...

    def events(self, of: Address) -> Any: ...


class Master:
    """The index of one master over a file."""

    def __init__(self, directory: Path) -> None:
        self.agents = LedgerAgents(directory / "node1")
        self.file = directory / "hook-index.db"

    async def open(self, bounds: Bounds = Bounds()) -> None:  # noqa: B008 - a frozen value
        self.index: SqliteHookRuns = await open_hook_runs(self.file)
        self.runs = HookRuns(self.index, self.agents, FakeClock(), bounds)
        await self.runs.open()

    async def close(self) -> None:
        await self.runs.close()
        await self.index.close()

    async def known(self) -> list[str]:
        """The scripts in the index, in any order."""
        return sorted(one.result.script for one in await self.runs.find(HookRunChoice()))


@pytest.fixture
async def master(tmp_path: Path) -> Master:
    found = Master(tmp_path)
    await found.open()
    return found


async def test_answers_fill_the_index_without_asking(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a", "b"))
    assert await master.known() == ["a", "b"]
    asked = len(master.agents.asked)
    master.runs.told(NODE, order(), master.agents.scripts("c"))
    master.runs.told(NODE, order(), master.agents.scripts("d", "e"))
    assert await master.known() == ["a", "b", "c", "d", "e"]
    assert len(master.agents.asked) == asked
    await master.close()


async def test_what_an_answer_skips_is_fetched(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a"))
    master.agents.scripts("of another master")
    master.runs.told(NODE, order(), master.agents.scripts("c"))
    assert await master.known() == ["a", "c", "of another master"]
    await master.close()


async def test_what_ended_after_its_master_had_gone_is_found_by_a_look(master: Master) -> None:
    master.runs.missed(NODE)
    assert await master.known() == []
    master.agents.scripts("its answer went to the old master")
    lives = {node_uuid(1): NodeLive(reachable=True), node_uuid(2): NodeLive(reachable=False)}
    asked = len(master.agents.asked)
    master.runs.look(FakeQueue(entities(2), lives).snapshot())
    assert await master.known() == ["its answer went to the old master"]
    assert len(master.agents.asked) == asked + 1, "the one that answers"
    await master.close()


async def test_phases_that_ran_side_by_side_are_all_there(master: Master) -> None:
    one, other = master.agents.ledger.phase(order()), master.agents.ledger.phase(order())
    for phase, name in ((one, "a"), (other, "b"), (one, "c")):
        phase.ended(result(name))
    master.runs.told(NODE, order(), one.finished(ran(result("a"), result("c"))))
    master.runs.told(NODE, order(), other.finished(ran(result("b"))))
    assert await master.known() == ["a", "b", "c"]
    await master.close()


async def test_the_answer_of_an_order_that_was_lost_is_made_up_for(master: Master) -> None:
    agents = RecordedAgents(master.agents, master.runs)
    await agents.order(NODE, ENVELOPE, order())
    master.agents.lost = True
    with pytest.raises(Unavailable):
        await agents.order(NODE, ENVELOPE, order())
    assert await master.known() == ["from-order", "from-order"]
    await master.close()


async def test_a_new_master_goes_on_where_the_last_one_ended(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a"))
    await master.known()
    await master.close()
    master.agents.scripts("meanwhile")
    master.agents.asked.clear()
    await master.open()
    master.runs.missed(NODE)
    assert await master.known() == ["a", "meanwhile"]
    assert [one.after for one in master.agents.asked] == [1]
    await master.close()


async def test_a_lost_index_is_rebuilt_from_the_nodes_page_by_page(master: Master) -> None:
    for _ in range(3):
        master.runs.told(NODE, order(), master.agents.scripts(*map(str, range(700))))
    assert len(await master.runs.find(HookRunChoice(limit=10_000))) == 2100
    await master.close()
    master.file.unlink()
    master.agents.asked.clear()
    await master.open()
    master.runs.missed(NODE)
    assert len(await master.runs.find(HookRunChoice(limit=10_000))) == 2100
    assert [one.after for one in master.agents.asked] == [0, 1000, 2000]
    await master.close()


async def test_a_node_that_lost_its_ledger_begins_again(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a", "b", "c"))
    assert len(await master.known()) == 3
    master.agents.ledger.close()
    for path in (master.agents.root / DATABASE).parent.glob("hooks.db*"):
        path.unlink()
    master.agents.ledger = Ledger(master.agents.root, NODE.name)
    master.runs.told(NODE, order(), master.agents.scripts("d"))
    master.agents.scripts("e")
    master.runs.missed(NODE)
    assert await master.known() == ["a", "b", "c", "d", "e"]
    await master.close()


async def test_a_node_that_is_away_holds_nobody_up(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a"))
    assert await master.known() == ["a"]
    master.agents.scripts("b")
    master.agents.away = True
    master.runs.missed(NODE)
    assert await master.known() == ["a"]
    master.agents.away = False
    master.runs.missed(NODE)
    assert await master.known() == ["a", "b"]
    await master.close()


async def test_what_was_told_just_before_the_end_is_written(master: Master) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a"))
    await master.close()
    await master.open()
    assert await master.known() == ["a"]
    await master.close()


@pytest.mark.parametrize("asked", [False, True])
async def test_runs_that_could_not_be_written_are_fetched_later(
    master: Master, asked: bool
) -> None:
    master.runs.told(NODE, order(), master.agents.scripts("a"))
    assert await master.known() == ["a"]
    # SQLite says much the same where the disk is full.
    await master.index._do(lambda connection: connection.execute("pragma query_only = 1").get)
    answer = master.agents.scripts("b")
    if asked:
        master.runs.missed(NODE)
    else:
        master.runs.told(NODE, order(), answer)
    with contextlib.suppress(HistoryUnavailable):
        await master.known()
    await master.index._do(lambda connection: connection.execute("pragma query_only = 0").get)
    master.runs.told(NODE, order(), master.agents.scripts("c"))
    assert await master.known() == ["a", "b", "c"]
    await master.close()


async def test_the_index_keeps_its_bounds(master: Master) -> None:
    await master.close()
    await master.open(Bounds(days=1, runs=2))
    master.runs.told(NODE, order(), master.agents.scripts("a", "b", "c"))
    await master.known()
    await master.runs.prune()
    # All three began in one moment: those go together.
    assert len(await master.known()) <= 2
    await master.close()
