"""The receiving ends of transfers that are open on this node, and the files of both ends.

What is received, and how, is in ``receiving``; here is who waits for what. An end whose agent
is restarted is gone: its programs are ended by the next agent, and the sender sees it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from gantry.agent.memory import Memory
from gantry.agent.transfer_programs import NAME
from gantry.host.daemon import Identity
from gantry.host.pipeline import Stage
from gantry.model import names
from gantry.model.backup_orders import Moved
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.names import Uuid

logger = logging.getLogger(__name__)

DIRECTORY: Final = "run/gantry/transfers"
_MOST_LINES: Final = 200


class Reception:
    """One receiving end: ``port`` is known once it listens.

    ``closing`` is set once the sending end has ended: only then it listens no more.
    """

    def __init__(self) -> None:
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.closing = asyncio.Event()
        self.task: asyncio.Task[Moved] | None = None
        self._say: Callable[[str], None] | None = None
        self._lines: list[str] = []

    def listening(self, port: int) -> None:
        """It waits for its caller there."""
        if not self.port.done():
            self.port.set_result(port)

    def say(self, text: str) -> None:
        """A line for the job's log; kept until somebody listens."""
        if self._say is not None:
            self._say(text)
        elif len(self._lines) < _MOST_LINES:
            self._lines.append(text)

    def tell(self, say: Callable[[str], None]) -> None:
        """Somebody listens from now on."""
        lines, self._lines, self._say = self._lines, [], say
        for line in lines:
            say(line)


class Transfers:
    """All of one agent."""

    def __init__(self, root: Path, memory: Memory) -> None:
        self._root = root
        self._memory = memory
        self._open: dict[Uuid, Reception] = {}

    def clear(self) -> None:
        """Once, at the start: nothing of an earlier agent's transfers goes on."""
        shutil.rmtree(self._root / DIRECTORY, ignore_errors=True)

    def directory(self, transfer: Uuid, end: str) -> Path:
        """A new directory (mode 700) for what one end of a transfer needs."""
        if not names.is_uuid(transfer):
            raise Rejected(f"{transfer!r} is not a transfer")
        path = self._root / DIRECTORY / f"{transfer}-{end}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        return path

    def environment(self, transfer: Uuid) -> dict[str, str]:
        """What tells the programs of a transfer from all others, also after a crash."""
        return {NAME: transfer, "GANTRY_ROOT": str(self._root)}

    async def begin(
        self, transfer: Uuid, receive: Callable[[Reception], Awaitable[Moved]]
    ) -> Reception:
        """Receive in the background; gives it back once it listens, or raises what went wrong."""
        await self.abort(transfer)
        reception = Reception()
        self._memory.mark(_key(transfer), f"{NAME}={transfer}")
        task = asyncio.create_task(self._run(transfer, reception, receive))
        reception.task = task
        self._open[transfer] = reception
        try:
            waits: list[asyncio.Future[Any]] = [task, reception.port]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.abort(transfer)
            raise
        if not reception.port.done() or reception.port.cancelled():
            self._open.pop(transfer, None)
            await asyncio.wait([task])
            if task.cancelled() or task.exception() is None:
                raise OperationFailed("the transfer was ended before it began")
            await task
        return reception

    def started(self, transfer: Uuid) -> Callable[[Stage, Identity], None]:
        """Notes a program of a receiving end down, so that a next agent can end it."""
        return lambda _stage, which: self.noted(transfer, which)

    def noted(self, transfer: Uuid, which: Identity) -> None:
        """The same of one process; from any thread."""
        self._memory.script_started(_key(transfer), which.pid, which.started)

    def find(self, transfer: Uuid, node: str) -> Reception:
        """An open one; OperationFailed where there is none (any more)."""
        found = self._open.get(transfer)
        if found is None:
            raise OperationFailed(
                f"node {node} does not receive this any more: its agent was restarted meanwhile",
                "try it again",
                reason=Reason.ENVIRONMENT,
                node=node,
            )
        return found

    def forget(self, transfer: Uuid) -> None:
        """It was closed."""
        self._open.pop(transfer, None)

    async def abort(self, transfer: Uuid) -> None:
        """End one; when this returns, its programs have ended."""
        reception = self._open.pop(transfer, None)
        if reception is not None and reception.task is not None:
            reception.task.cancel()
            await asyncio.wait([reception.task])

    async def close(self) -> None:
        """End all."""
        for transfer in tuple(self._open):
            await self.abort(transfer)

    async def _run(
        self,
        transfer: Uuid,
        reception: Reception,
        receive: Callable[[Reception], Awaitable[Moved]],
    ) -> Moved:
        try:
            return await receive(reception)
        finally:
            self._memory.scripts_ended(_key(transfer))
            if not reception.port.done():
                reception.port.cancel()


def _key(transfer: Uuid) -> str:
    return f"transfer/{transfer}"
