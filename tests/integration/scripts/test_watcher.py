"""The directory ``watcher``: on every node, without a master, now and then."""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.agent import watcher
from gantry.agent.memory import Memory


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    (tmp_path / "var/lib/gantry").mkdir(parents=True)
    made = Memory(tmp_path / "var/lib/gantry/agent.db")
    yield made
    made.close()


def script(root: Path, name: str, text: str) -> None:
    path = root / "etc/ganeti/hooks/watcher" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


async def test_without_the_directory_nothing_happens(tmp_path: Path, memory: Memory) -> None:
    await watcher.once(tmp_path, memory)
    assert memory.markers() == []


async def test_scripts_run_in_order_with_next_to_nothing_in_their_environment(
    tmp_path: Path, memory: Memory
) -> None:
    script(tmp_path, "20-second", 'echo second >> "$GANTRY_ROOT/told"; env > "$GANTRY_ROOT/env"')
    script(tmp_path, "10-first", 'echo first >> "$GANTRY_ROOT/told"; exit 1')
    script(tmp_path, "30.sh", 'echo third >> "$GANTRY_ROOT/told"')
    await watcher.once(tmp_path, memory)
    assert (tmp_path / "told").read_text().split() == ["first", "second"]
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names <= {"PATH", "LC_ALL", "GANTRY_ROOT", "GANTRY_RUN_ID", "PWD", "SHLVL", "_"}
    assert not memory.markers()
    assert not memory.scripts()


async def test_what_goes_wrong_is_in_the_log(
    tmp_path: Path, memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gantry.agent.watcher")
    script(tmp_path, "10-says", "echo all is well")
    script(tmp_path, "20-fails", "echo no paper; exit 3")
    script(tmp_path, "30-dies", "kill -9 $$")
    await watcher.once(tmp_path, memory)
    assert [record.getMessage() for record in caplog.records] == [
        "script watcher/10-says: all is well",
        "script watcher/20-fails ended with status 3: no paper",
        "script watcher/30-dies was ended by signal 9: (no output)",
    ]


async def test_they_run_again_and_are_ended_with_the_agent(tmp_path: Path, memory: Memory) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script(tmp_path, "10-tell", 'echo $$ > "$GANTRY_ROOT/pipe"')
    task = asyncio.create_task(watcher.follow(tmp_path, memory, interval=0.01))
    async with asyncio.timeout(100):
        told = {await asyncio.to_thread(pipe.read_text) for _ in range(3)}
        assert len(told) == 3
        script(tmp_path, "10-tell", 'echo stays > "$GANTRY_ROOT/pipe"; exec sleep 300')
        while await asyncio.to_thread(pipe.read_text) != "stays\n":
            continue
        # It is noted down a moment after its start.
        while not memory.scripts():  # noqa: ASYNC110 - a thread of the agent's notes it
            await asyncio.sleep(0.01)
        [(pid, _)] = memory.scripts()
        pidfd = os.pidfd_open(pid)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(select.select, [pidfd], [], [])
    os.close(pidfd)
    assert not memory.scripts()
