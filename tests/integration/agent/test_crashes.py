"""An agent that is killed at any moment forgets nothing that it must know."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from pathlib import Path

import apsw
import pytest
from tests.contract.agents.requests import disk, envelope, guest, hooks, os_run, start
from tests.support.agent_process import AgentProcess

from gantry.host.daemon import identity
from gantry.model.errors import Cancelled, Interrupted, Stopping, Superseded, Unavailable
from gantry.model.orders import (
    Delay,
    DiskCreate,
    DiskRemove,
    Nothing,
    OsCreate,
    ReadFacts,
    ReadGuests,
)
from gantry.rpc.client import HttpAgents

HOOKS = "etc/ganeti/hooks/instance-start-pre.d"


def add_hook(node: AgentProcess, text: str, name: str = "10-hook") -> None:
    path = node.root / HOOKS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


async def written(path: Path) -> str:
    """The content of a file that something is about to write (through a FIFO: no polling)."""
    return (await asyncio.to_thread(path.read_text)).strip()


async def test_effects_are_remembered_across_a_kill(node: AgentProcess, master: HttpAgents) -> None:
    one = disk()
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    await master.order(node.address, envelope("j/remove"), DiskRemove(disk=one))
    await node.kill()
    await node.start()
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    assert not (node.root / one.path.lstrip("/")).exists(), "it was done a second time"


async def test_the_epoch_is_remembered_across_a_kill(
    node: AgentProcess, master: HttpAgents
) -> None:
    await master.announce(node.address, 5)
    await node.kill()
    await node.start()
    with pytest.raises(Superseded, match="5"):
        await master.announce(node.address, 4)


async def test_guests_are_adopted_after_a_kill(node: AgentProcess, master: HttpAgents) -> None:
    spec = guest()
    await master.order(node.address, envelope("j/start"), start(spec))
    await node.kill()
    await node.start()
    there = await master.ask(node.address, ReadGuests(), 5.0)
    assert [(live.uuid, live.up) for live in there.guests] == [(spec.uuid, True)]


async def test_an_order_in_the_middle_of_which_the_agent_died_is_carried_out_when_issued_again(
    node: AgentProcess, master: HttpAgents
) -> None:
    running = asyncio.Event()
    order = asyncio.ensure_future(
        master.order(
            node.address, envelope("j/1"), Delay(duration=20.0), lambda line: running.set()
        )
    )
    await running.wait()
    await node.kill()
    with pytest.raises(Unavailable) as caught:
        await order
    assert caught.value.node == "node1"
    await node.start()
    answer = await master.order(node.address, envelope("j/1"), Delay(duration=0.0))
    assert answer == Nothing()


async def test_a_running_hook_is_ended_after_a_kill_and_run_again_as_a_new_attempt(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    add_hook(node, f"#!/bin/sh\n[ $GANTRY_ATTEMPT = 2 ] && exit 0\necho $$ > {fifo}\nsleep 300\n")
    order = asyncio.ensure_future(master.order(node.address, envelope("j/pre"), hooks()))
    pid = int(await written(fifo))
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    assert identity(pid) is not None, "the script is a process of its own"
    await node.start()
    assert identity(pid) is None, "the orphan was not ended"
    with pytest.raises(Interrupted, match="restarted") as caught:
        await master.order(node.address, envelope("j/pre"), hooks())
    assert caught.value.node == "node1"
    again = await master.order(node.address, envelope("j/pre"), hooks(attempt=2))
    assert [(one.script, one.exit_status) for one in again.results] == [("10-hook", 0)]


async def test_an_os_script_that_was_interrupted_is_not_run_again_by_itself(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    definition = node.root / "srv/ganeti/os/slow"
    definition.mkdir(parents=True)
    for script in ("create", "import", "export", "rename", "verify"):
        (definition / script).write_text(f"#!/bin/sh\necho $$ > {fifo}\nsleep 300\n")
        (definition / script).chmod(0o755)
    (definition / "ganeti_api_version").write_text("20\n")
    (definition / "parameters.list").write_text("")
    create = OsCreate(run=os_run("slow"))
    order = asyncio.ensure_future(master.order(node.address, envelope("j/os"), create))
    pid = int(await written(fifo))
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    await node.start()
    assert identity(pid) is None
    with pytest.raises(Interrupted):
        await master.order(node.address, envelope("j/os"), create)


async def test_a_script_whose_start_was_not_noted_down_is_ended_too(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    add_hook(node, f"#!/bin/sh\necho $$ > {fifo}\nsleep 300\n")
    run = hooks(run_id="11111111-0000-4000-8000-000000000000")
    order = asyncio.ensure_future(master.order(node.address, envelope("j/pre"), run))
    pid = int(await written(fifo))
    await node.kill()
    with pytest.raises(Unavailable):
        await order
    with apsw.Connection(str(node.root / "var/lib/gantry/agent.db")) as database:
        database.execute("DELETE FROM scripts")
    database.close()
    await node.start()
    assert identity(pid) is None
    with pytest.raises(Interrupted):
        await master.order(node.address, envelope("j/pre"), run)


async def test_cancelling_a_hook_ends_its_whole_process_group(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    add_hook(node, f"#!/bin/sh\nsleep 300 &\necho $! > {fifo}\nwait\n")
    order = asyncio.ensure_future(master.order(node.address, envelope("j/pre"), hooks()))
    child = int(await written(fifo))
    await master.cancel(node.address, "j/pre", 1)
    with pytest.raises(Cancelled):
        await order
    found = identity(child)
    assert found is None, "a child of the script is still there"


async def test_an_ordered_end_lets_short_orders_finish_and_exits_cleanly(
    node: AgentProcess, master: HttpAgents
) -> None:
    running = asyncio.Event()
    order = asyncio.ensure_future(
        master.order(node.address, envelope("j/1"), Delay(duration=0.5), lambda line: running.set())
    )
    await running.wait()
    assert await node.kill(signal.SIGTERM) == 0
    assert await order == Nothing()
    await node.start()


async def test_an_ordered_end_does_not_count_as_a_cancellation(
    node: AgentProcess, master: HttpAgents
) -> None:
    running = asyncio.Event()
    order = asyncio.ensure_future(
        master.order(
            node.address, envelope("j/1"), Delay(duration=60.0), lambda line: running.set()
        )
    )
    await running.wait()
    assert await node.kill(signal.SIGTERM) == 0
    with pytest.raises(Unavailable):
        await order
    await node.start()
    answer = await master.order(node.address, envelope("j/1"), Delay(duration=0.0))
    assert answer == Nothing()


async def test_what_is_ordered_while_the_agent_is_being_stopped_is_left_to_the_next_one(
    node: AgentProcess, master: HttpAgents
) -> None:
    running = asyncio.Event()
    order = asyncio.ensure_future(
        master.order(
            node.address, envelope("j/1"), Delay(duration=60.0), lambda line: running.set()
        )
    )
    await running.wait()
    assert node.process is not None
    node.process.send_signal(signal.SIGTERM)
    key = ""
    with pytest.raises(Stopping, match="node1 was stopped, so the order was not begun"):
        async with asyncio.timeout(100):
            # It takes a moment until the agent has heard of its end.
            for number in itertools.count():
                key = f"k/{number}"
                await master.order(node.address, envelope(key), Delay(duration=0.0))
    with pytest.raises(Stopping, match="before the order was done"):
        await order
    assert await node.kill(signal.SIGTERM) == 0
    await node.start()
    assert await master.order(node.address, envelope(key), Delay(duration=0.0)) == Nothing()


async def until_its_stream_ends(
    node: AgentProcess, master: HttpAgents, end: signal.Signals
) -> None:
    """End the agent while its events are followed, and follow them to their end."""
    events = master.events(node.address)
    await anext(events)
    await node.kill(end)
    with pytest.raises(Unavailable):
        async for _ in events:
            pass


async def test_an_agent_that_ended_in_order_is_expected_back(
    node: AgentProcess, master: HttpAgents
) -> None:
    await until_its_stream_ends(node, master, signal.SIGTERM)
    with pytest.raises(Stopping, match="does not answer"):
        await master.order(node.address, envelope("j/1"), Delay(duration=0.0))
    await node.start()
    assert await master.order(node.address, envelope("j/1"), Delay(duration=0.0)) == Nothing()
    # One that is killed may be gone with its node.
    await until_its_stream_ends(node, master, signal.SIGKILL)
    with pytest.raises(Unavailable) as caught:
        await master.order(node.address, envelope("j/2"), Delay(duration=0.0))
    assert caught.type is Unavailable


async def test_a_damaged_memory_is_set_aside_and_said(
    node: AgentProcess, master: HttpAgents
) -> None:
    await node.kill()
    database = node.root / "var/lib/gantry/agent.db"
    for path in database.parent.glob("agent.db-*"):
        path.unlink()
    database.write_bytes(b"not a database at all" * 1000)
    await node.start()
    assert (await master.announce(node.address, 3)).epoch == 0
    assert "damaged" in node.log()
    assert list(database.parent.glob("agent.db.damaged-*"))


async def test_damage_in_the_middle_is_found_at_the_start_and_told_until_it_is_read(
    node: AgentProcess, master: HttpAgents
) -> None:
    for number in range(200):
        await master.order(node.address, envelope(f"job{number}/1"), Delay(duration=0.0))
    await node.kill(signal.SIGTERM)
    database = node.root / "var/lib/gantry/agent.db"
    with database.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * (database.stat().st_size - 3 * 4096))
    await node.start()
    [aside] = database.parent.glob("agent.db.damaged-*")
    [said] = (await master.ask(node.address, ReadFacts(), 10)).problems
    assert str(aside) in said
    await node.kill(signal.SIGTERM)
    await node.start()
    assert (await master.ask(node.address, ReadFacts(), 10)).problems == (said,)
    aside.unlink()
    assert (await master.ask(node.address, ReadFacts(), 10)).problems == ()
