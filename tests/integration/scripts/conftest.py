"""Real scripts in real directories, run as an agent runs them."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Unpack

import pytest
from tests.support.open_place import open_place

from gantry.agent.ended_file import PhaseNotes
from gantry.host import digests, scripts, scripts_ahead, spawner
from gantry.host.daemon import Identity
from gantry.host.digests import digest
from gantry.host.process import Stop
from gantry.host.scripts import How, run_hooks
from gantry.host.spawner import MANY, Borrowed, Event, Order, Spawner
from gantry.model.orders import HookDirectory, HooksRun, ScriptResult

PRE = "instance-start-pre.d"
ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "GANETI_HOOKS_VERSION": "2"}


class Hooks:
    """A node's directory of hooks. ``ahead``: another process starts the scripts, if it may."""

    def __init__(self, base: Path, *, ahead: bool = False) -> None:
        self.base = base
        self.ahead = ahead
        self.started = False

    def script(self, name: str, text: str | bytes = "", directory: str = PRE) -> Path:
        """An executable; a text without ``#!`` is made a shell's."""
        if isinstance(text, str) and not text.startswith("#!"):
            text = f"#!/bin/sh\n{text}\n"
        path = self.base / directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(0o755)
        return path

    @staticmethod
    def order(*directories: tuple[str, int], main: int = 2) -> HooksRun:
        """For these directories, each with its version; the usual one where there is none."""
        named = directories or ((PRE, 2),)
        return HooksRun(
            directories=tuple(HookDirectory(name=name, version=number) for name, number in named),
            environments={
                str(number): {**ENVIRONMENT, "GANETI_HOOKS_VERSION": str(number)}
                for _, number in named
            },
            main_version=main,
            job=7,
            run_id="run",
            attempt=1,
        )

    async def run(
        self,
        *directories: tuple[str, int],
        main: int = 2,
        timeout: float = 30.0,
        extra: Mapping[str, str] | None = None,
        on_started: Callable[[Identity], None] | None = None,
    ) -> tuple[ScriptResult, ...]:
        """Every result, in the order of the run."""
        order = self.order(*directories, main=main)
        return await self.carried_out(order, extra, timeout=timeout, on_started=on_started)

    async def carried_out(
        self, order: HooksRun, extra: Mapping[str, str] | None = None, **how: Unpack[How]
    ) -> tuple[ScriptResult, ...]:
        """Every result of an order, in the order of the run."""
        if self.ahead:
            how = {**spawned(self.base), **how}
        ran = await run_hooks(self.base, order, extra or {}, **how)
        self.started |= any(one.digest and not one.run_as for one in ran.results)
        return ran.results

    async def only(self, timeout: float = 30.0) -> ScriptResult:
        """The result where there is one script."""
        [result] = await self.run(timeout=timeout)
        return result


def spawned(base: Path) -> How:
    """What it takes for scripts to be started by another process, which is ready then."""
    for path in base.glob("*/*"):
        if path.is_file():
            digest(str(path))
    with Borrowed(MANY) as borrowed:
        deadline = time.monotonic() + 60
        while borrowed.spawner is not None and not borrowed.spawner.ready:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    beside = base.parent
    notes = PhaseNotes(beside / "notes", 1, 0.0)
    return {"notes": notes, "on_brief": lambda *_: None, "outputs": beside / "outputs"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of scripts of each order to the process that starts them."""
    found: list[int] = []
    run = Spawner.run

    def counted(self: Spawner, order: Order, stop: Stop) -> Iterator[Event]:
        found.append(len(order.scripts))
        return run(self, order, stop)

    monkeypatch.setattr(Spawner, "run", counted)
    return found


@pytest.fixture
def known_at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A script that was just written counts as one of long ago; each test has its own spawner."""
    monkeypatch.setattr(digests, "FRESH", 0)
    spawner._one.end()
    yield
    spawner._one.end()


@pytest.fixture(params=["alone", "ahead"])
def both(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: list[int],
) -> Iterator[Hooks]:
    """``hooks`` of which each script is started by this process, or as many as may by another."""
    if request.param == "ahead":
        monkeypatch.setattr(spawner, "MANY", 1)
        monkeypatch.setattr(scripts, "FEW", 1)
        monkeypatch.setattr(spawner, "FEW", 1)
        monkeypatch.setattr(scripts_ahead, "FEW", 1)
        monkeypatch.setattr(scripts_ahead, "LEAST", 0.0)
        monkeypatch.setattr(digests, "FRESH", 0)
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "hooks"
    base.mkdir()
    found = Hooks(base, ahead=request.param == "ahead")
    yield found
    # Of what does not run, or runs as another user, nobody is asked.
    assert asked or not (found.ahead and found.started)


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """None yet; a script that dumps core does it in a directory that goes away."""
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "hooks"
    base.mkdir()
    return Hooks(base)


@pytest.fixture
def hooks_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """The same where another user can get at them."""
    with open_place() as place:
        monkeypatch.chdir(place)
        base = place / "hooks"
        base.mkdir()
        base.chmod(0o755)
        yield Hooks(base)
        monkeypatch.undo()


def gone(pid: int) -> bool:
    """Whether the process has ended, or does so soon: it was signalled, which takes a moment."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 20)[0])
    finally:
        os.close(pidfd)


def still_open(below: Path) -> list[str]:
    """Files there that we have open with something in them; empty ones are for later scripts."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            if str(one.readlink()).startswith(f"{below}/") and one.stat().st_size:
                found.append(one.name)
        except FileNotFoundError:  # the one that lists them
            continue
    return found
