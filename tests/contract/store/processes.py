"""Clients of a store in processes of their own: starting, hearing and killing them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.contract.store.drivers import Driver

LINE_SECONDS = 30.0


class Process:
    """One running ``worker``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Its next line; "" at its end."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LINE_SECONDS):
            return (await self._process.stdout.readline()).decode().strip()

    async def rest(self) -> list[str]:
        """All lines until its end, without one that a kill cut off."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LINE_SECONDS):
            text = (await self._process.stdout.read()).decode()
            await self._process.wait()
        return text[: text.rfind("\n") + 1].split()

    @property
    def status(self) -> int | None:
        return self._process.returncode

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


class Processes:
    """Starts workers on the stores of one directory, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[Process] = []

    async def start(self, driver: Driver, role: str, *arguments: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.contract.store.worker",
            driver.name,
            str(self._directory),
            role,
            *arguments,
            cwd=Path(__file__).parents[3],
            stdout=asyncio.subprocess.PIPE,
        )
        self._started.append(Process(process))
        return self._started[-1]

    async def end(self) -> None:
        for process in self._started:
            await process.end()
