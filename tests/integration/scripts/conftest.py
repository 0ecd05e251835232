"""Real scripts in real directories, run as an agent runs them."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.open_place import open_place

from gantry.host.daemon import Identity
from gantry.host.scripts import run_hooks
from gantry.model.orders import HookDirectory, HooksRun, ScriptResult

PRE = "instance-start-pre.d"
ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin", "GANETI_HOOKS_VERSION": "2"}


class Hooks:
    """A node's directory of hooks."""

    def __init__(self, base: Path) -> None:
        self.base = base

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
        ran = await run_hooks(
            self.base,
            self.order(*directories, main=main),
            extra or {},
            timeout=timeout,
            on_started=on_started,
        )
        return ran.results

    async def only(self, timeout: float = 30.0) -> ScriptResult:
        """The result where there is one script."""
        [result] = await self.run(timeout=timeout)
        return result


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
