"""What an agent remembers of the processes that run its scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry.agent.memory import Memory
from gantry.host import machine


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    made = Memory(tmp_path / "agent.db")
    yield made
    made.close()


def test_who_starts_scripts_is_known_also_when_they_have_ended(memory: Memory) -> None:
    """If the agent is killed, the next one ends him whatever he is doing."""
    memory.starter(100, 1)
    memory.script_started("j/1", 200, 1)
    memory.scripts_ended("j/1")
    assert memory.scripts() == [(100, 1)]


def test_of_those_who_start_scripts_the_last_one_is_remembered(memory: Memory) -> None:
    memory.starter(100, 1)
    memory.starter(100, 1)
    memory.starter(100, 2)
    assert memory.scripts() == [(100, 2)]
    memory.starter(300, 1)
    assert memory.scripts() == [(300, 1)]


def test_who_starts_scripts_is_noted_anew_after_all_was_forgotten(memory: Memory) -> None:
    memory.starter(100, 1)
    memory.forget_scripts()
    assert memory.scripts() == []
    memory.starter(100, 1)
    assert memory.scripts() == [(100, 1)]


def test_after_a_boot_who_started_scripts_before_it_is_nobody(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """His number, and the time since the boot, may be those of somebody else by chance."""
    memory.starter(100, 1)
    memory.script_started("j/1", 200, 1)
    monkeypatch.setattr(machine, "boot_id", lambda: "another")
    assert memory.scripts() == [(200, 1)]
    memory.starter(300, 1)
    assert memory.scripts() == [(200, 1), (300, 1)]


def test_the_next_agent_is_told_who_started_scripts(tmp_path: Path) -> None:
    first = Memory(tmp_path / "agent.db")
    first.starter(100, 1)
    first.close()
    second = Memory(tmp_path / "agent.db")
    assert second.scripts() == [(100, 1)]
    second.starter(200, 1)
    assert second.scripts() == [(200, 1)]
    second.close()
