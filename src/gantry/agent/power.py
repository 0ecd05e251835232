"""Switching machines on and off by the site's own program, and asking it how they are.

Nothing that the program says is believed that it was not asked, and nothing is guessed from its
silence: what is not a plain answer is an error.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import clock, command, trusted_program
from gantry.model import names, timeouts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.power import MARKER, Health, PowerCommand, PowerRun, PowerSaid

_MOST: Final = 64 * 1024
"""Bytes of an answer that are read."""
_ITEMS: Final = 200
_TEXT: Final = 200
T = TypeVar("T")


class _Status(msgspec.Struct, frozen=True):
    """What ``power-status`` prints, with whatever else."""

    powered: bool


async def run(parts: Parts, order: PowerRun, task: Task) -> PowerSaid:
    """One command for one machine, and after on and off the proof that it is so."""
    names.host_name(order.machine, "the name of a node")
    if not 0 < order.timeout <= timeouts.SLOW or not 0 <= order.delay <= timeouts.SLOW:
        raise Rejected("a call takes at most an hour")
    program = parts.root / names.absolute_path(order.program, "an oob_program").lstrip("/")
    await asyncio.sleep(order.delay)
    called = _Called(parts, program, order, task)
    match order.command:
        case PowerCommand.STATUS:
            return PowerSaid(powered=await called.status())
        case PowerCommand.HEALTH:
            return PowerSaid(health=await called.health())
        case PowerCommand.CYCLE:
            await called.call(order.command)
            return PowerSaid()
        case _:
            await called.call(order.command)
            return PowerSaid(powered=await called.until(order.command is PowerCommand.ON))


class _Called:
    """The program, for one machine."""

    def __init__(self, parts: Parts, program: Path, order: PowerRun, task: Task) -> None:
        self._node = parts.node
        self._program = program
        self._order = order
        self._task = task
        self._environment = {
            **command.ENVIRONMENT,
            "GANTRY_ROOT": str(parts.root),
            MARKER: order.run,
        }

    async def call(self, what: PowerCommand) -> bytes:
        """Its output; OperationFailed where it may not be run, fails or takes too long."""
        # Each time: between two calls it may have become somebody else's.
        complaint = await asyncio.to_thread(trusted_program.complaint, self._program)
        if complaint:
            raise self._failure(f"the program is not run on node {self._node}: {complaint}")
        try:
            done = await command.run(
                [str(self._program), what.value, self._order.machine],
                timeout=self._order.timeout,
                env=self._environment,
                most=_MOST,
                on_started=self._task.started,
            )
        except command.CommandFailed as error:
            raise self._failure(str(error)) from error
        return done.stdout

    async def status(self) -> bool:
        """Whether there is power."""
        said = await self._read(PowerCommand.STATUS, _Status)
        return said.powered

    async def health(self) -> tuple[tuple[str, Health], ...]:
        """Item by item."""
        said = await self._read(PowerCommand.HEALTH, list[tuple[str, Health]])
        return tuple((item[:_TEXT], how) for item, how in said[:_ITEMS])

    async def until(self, powered: bool) -> bool:
        """Wait until the status is so; the machine's controller may need a moment."""
        deadline = clock.boottime() + self._order.timeout
        while True:
            if await self.status() is powered:
                return powered
            if clock.boottime() >= deadline:
                raise self._failure(
                    f"{self._order.command} succeeded, and after {self._order.timeout:g} s "
                    f"power-status still says {'off' if powered else 'on'}"
                )
            await asyncio.sleep(timeouts.POWER_LOOK)

    async def _read(self, what: PowerCommand, kind: type[T]) -> T:
        output = await self.call(what)
        try:
            found: Any = msgspec.json.decode(output, type=kind)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise self._failure(f"{what} printed no answer: {error}") from None
        return found  # type: ignore[no-any-return]  # decode has checked it

    def _failure(self, why: str) -> OperationFailed:
        return OperationFailed(
            f"{self._order.machine}: {why}",
            f"try it there: {self._program} {self._order.command} {self._order.machine}",
            reason=Reason.ENVIRONMENT,
            node=self._node,
        )
