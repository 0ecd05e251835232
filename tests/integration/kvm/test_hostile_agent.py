"""What answers on the guest agent's channel is whoever is in the guest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gantry.hypervisors.kvm import guest_agent
from gantry.model import timeouts

Answer = Callable[[dict[str, object]], object]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SILENT = object()


class Agent:
    """One that behaves, but for what ``answer`` says. ``asked`` are the commands that came."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.asked: list[str] = []
        self.frozen = False
        self._answer = answer or self.usual

    def is_frozen(self) -> bool:
        return self.frozen

    def usual(self, request: dict[str, object]) -> object:
        command = str(request["execute"])
        if command == "guest-fsfreeze-status":
            return "frozen" if self.frozen else "thawed"
        if command == "guest-fsfreeze-freeze":
            self.frozen = True
            return 2
        if command == "guest-fsfreeze-thaw":
            self.frozen = False
            return 2
        arguments = request["arguments"]
        assert isinstance(arguments, dict)
        return arguments["id"]

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.lstrip(b"\xff"))
            command = request["execute"]
            self.asked.append(command)
            answer = self._answer(request)
            if answer is SILENT:
                continue
            raw = answer if isinstance(answer, bytes) else json.dumps({"return": answer}).encode()
            writer.write((b"\xff" if command.endswith("delimited") else b"") + raw + b"\n")


@asynccontextmanager
async def listening(directory: Path, talk: Talk) -> AsyncIterator[None]:
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except OSError:
            return  # whoever called is gone
        finally:
            writer.transport.abort()

    server = await asyncio.start_unix_server(serve, directory / guest_agent.SOCKET)
    try:
        yield
    finally:
        server.close()
        if talks:
            await asyncio.wait(talks, timeout=100)


async def export(directory: Path) -> list[str]:
    """What is said about a moment; it always comes."""
    said: list[str] = []
    reached = False
    async with guest_agent.frozen(directory, said.append):
        reached = True
    assert reached
    return said


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those that wait for what never comes."""
    monkeypatch.setattr(timeouts, "GUEST_AGENT", 0.3)
    monkeypatch.setattr(timeouts, "GUEST_FREEZE", 0.3)
    monkeypatch.setattr(timeouts, "GUEST_AGENT_PAUSES", (0.05,) * 100)


async def test_it_is_frozen_for_the_moment_alone(tmp_path: Path) -> None:
    agent = Agent()
    async with listening(tmp_path, agent.talk):
        async with guest_agent.frozen(tmp_path, print):
            assert agent.is_frozen()
            assert (tmp_path / guest_agent.NOTE).exists()
        assert not agent.is_frozen()
        assert not (tmp_path / guest_agent.NOTE).exists()
        assert "had 2 file systems frozen" in (await export(tmp_path))[0]


async def test_a_guest_without_a_channel_is_not_spoken_of(tmp_path: Path) -> None:
    assert await export(tmp_path) == []


async def test_what_goes_wrong_meanwhile_thaws_and_is_raised(tmp_path: Path) -> None:
    agent = Agent()
    async with listening(tmp_path, agent.talk):
        with pytest.raises(ZeroDivisionError):
            async with guest_agent.frozen(tmp_path, print):
                raise ZeroDivisionError
    assert agent.asked[-1] == "guest-fsfreeze-thaw"
    assert not agent.is_frozen()


async def test_a_cancelled_freeze_thaws(tmp_path: Path) -> None:
    agent = Agent()
    begun = asyncio.Event()

    def answer(request: dict[str, object]) -> object:
        if request["execute"] == "guest-fsfreeze-freeze":
            begun.set()
            agent.frozen = True
            return SILENT
        return agent.usual(request)

    agent._answer = answer
    async with listening(tmp_path, agent.talk):
        exporting = asyncio.create_task(export(tmp_path))
        await asyncio.wait_for(begun.wait(), 100)
        exporting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exporting
    assert not agent.is_frozen()


def said_by(command: str, what: object) -> Answer:
    """One that answers one command in another way."""
    agent = Agent()
    return lambda request: what if request["execute"] == command else agent.usual(request)


NESTED = b'{"return":' + b"[" * 30000 + b"]" * 30000 + b"}"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("command", "what", "why"),
    [
        ("guest-sync-delimited", SILENT, "no answer within"),
        ("guest-sync-delimited", 7, "no answer within"),
        ("guest-sync-delimited", b"x" * 200_000, "does not answer as an agent does"),
        ("guest-sync-delimited", NESTED, "does not answer as an agent does"),
        ("guest-sync-delimited", b"\xff" * 70_000, "does not answer as an agent does"),
        ("guest-fsfreeze-status", SILENT, "no answer within"),
        ("guest-fsfreeze-status", "frozen", "frozen already, by somebody else"),
        ("guest-fsfreeze-freeze", b"not json", "does not answer as an agent does"),
        ("guest-fsfreeze-freeze", b'{"error": {"desc": "no\\u001b[2J way"}}', "no [2J way"),
        ("guest-fsfreeze-freeze", b'{"error": 7}', "does not say why"),
        ("guest-fsfreeze-freeze", b"[1]", "does not say why"),
        ("guest-fsfreeze-freeze", "many", "has frozen nothing"),
        ("guest-fsfreeze-freeze", -5, "has frozen nothing"),
        ("guest-fsfreeze-freeze", SILENT, "no answer within"),
    ],
)
async def test_lies_are_said_and_hold_nothing_up(
    tmp_path: Path, command: str, what: object, why: str
) -> None:
    agent = Agent(said_by(command, what))
    async with listening(tmp_path, agent.talk), asyncio.timeout(100):
        [said, *_] = await export(tmp_path)
    assert why in said
    assert len(said) < 400
    if "guest-fsfreeze-freeze" in agent.asked:
        assert agent.asked[-1] == "guest-fsfreeze-thaw"


async def test_a_flood_is_given_up(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b'\xff{"return": 0}\n' * 1000)
                await writer.drain()
        except OSError:
            return

    async with listening(tmp_path, talk), asyncio.timeout(100):
        assert "answers something else" in (await export(tmp_path))[0]


async def test_one_that_hangs_up_is_said(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(tmp_path, talk), asyncio.timeout(100):
        assert "no file system is frozen" in (await export(tmp_path))[0]


@pytest.mark.usefixtures("impatient")
async def test_a_thaw_that_is_not_confirmed_is_repeated_until_it_is(tmp_path: Path) -> None:
    agent = Agent()
    refusals = 3

    def answer(request: dict[str, object]) -> object:
        nonlocal refusals
        if request["execute"] == "guest-fsfreeze-thaw" and refusals:
            refusals -= 1
            return SILENT if refusals else b'{"error": {"desc": "not now"}}'
        return agent.usual(request)

    agent._answer = answer
    gone = asyncio.Event()
    async with listening(tmp_path, agent.talk), asyncio.timeout(100):
        said = await export(tmp_path)
        assert "does not say that it has thawed" in said[-1]
        assert (tmp_path / guest_agent.NOTE).exists()
        await guest_agent.thaw_at_last(tmp_path, gone)
    assert not agent.is_frozen()
    assert not (tmp_path / guest_agent.NOTE).exists()


async def test_what_an_agent_that_died_has_frozen_is_thawed_by_the_next_export(
    tmp_path: Path,
) -> None:
    agent = Agent()
    agent.frozen = True
    (tmp_path / guest_agent.NOTE).touch()
    async with listening(tmp_path, agent.talk):
        await export(tmp_path)
    assert not agent.is_frozen()
    assert not (tmp_path / guest_agent.NOTE).exists()
