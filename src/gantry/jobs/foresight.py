"""Which hook scripts an operation would run, asked of the nodes; nothing is run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gantry.hooks.plan import NodeRun
from gantry.hooks.verdict import NodeScripts, escaped
from gantry.jobs.context import Context
from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.model.hook_orders import (
    HookSequence,
    ListedScript,
    ReadHooks,
    ScriptResult,
    ScriptStatus,
)
from gantry.model.names import Uuid
from gantry.ports.agents import Address

PATIENCE: Final = 2 * timeouts.CONNECT
MOST: Final = 200
"""Scripts that a job's result names; its log names more."""
_WHEN: Final = {
    "pre": "before",
    "post": "afterwards",
    "fail": "if it fails",
    "config-update": "after a change of the configuration",
}


class Foreseen(msgspec.Struct, frozen=True, kw_only=True):
    """One phase on one node; ``problem``: the node did not say."""

    phase: str
    node: str
    scripts: tuple[ListedScript, ...] = ()
    problem: str = ""

    def lines(self) -> Iterator[str]:
        """What a job's log says of it, in the order of the run."""
        when = _WHEN[self.phase]
        if self.problem:
            yield f"{when} on {self.node}: its hooks are not known: {self.problem}"
        for one in self.scripts:
            name = escaped(f"{one.directory}/{one.script}")
            if one.problem:
                yield f"{when} on {self.node}: {name} would fail: {one.problem}"
            elif one.skip:
                yield f"{when} on {self.node}: {name} would be skipped: {one.skip}"
            else:
                user = f", as {one.run_as}" if one.run_as else ""
                how = f"version {one.version}, at most {one.timeout:g} s{user}"
                yield f"{when} on {self.node}: would run {name} ({how})"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The same for a job's result."""
        base = {"phase": self.phase, "node": self.node}
        if self.problem:
            yield {**base, "problem": self.problem}
        for one in self.scripts:
            yield {**base, **msgspec.to_builtins(one)}


async def foresee(
    context: Context, phases: Mapping[str, Sequence[NodeRun]], addresses: Mapping[Uuid, Address]
) -> tuple[Foreseen, ...]:
    """Ask all nodes side by side, each once; phase by phase, as the operation would meet them."""
    answers = await asyncio.gather(
        *(_ask(context, to, _of_node(phases, node)) for node, to in addresses.items())
    )
    found = [one for answer in answers for one in answer]
    return tuple(sorted(found, key=lambda one: list(phases).index(one.phase)))


def pre_failures(foreseen: Iterable[Foreseen]) -> tuple[NodeScripts, ...]:
    """What is known to fail before the operation, as a phase's results would say it."""
    return tuple(
        NodeScripts(
            node=one.node,
            problem=one.problem,
            results=tuple(
                ScriptResult(
                    directory=each.directory,
                    script=each.script,
                    status=ScriptStatus.FAILED,
                    problem=each.problem,
                )
                for each in one.scripts
                if each.problem
            ),
        )
        for one in foreseen
        if one.phase == "pre"
    )


def result(foreseen: Iterable[Foreseen]) -> dict[str, Any]:
    """What a job's result says."""
    rows = [row for one in foreseen for row in one.rows()]
    return {"hooks": rows[:MOST], "hooks_left_out": max(0, len(rows) - MOST)}


def _of_node(phases: Mapping[str, Sequence[NodeRun]], node: Uuid) -> dict[str, NodeRun]:
    return {phase: run for phase, runs in phases.items() for run in runs if run.node == node}


async def _ask(context: Context, to: Address, runs: Mapping[str, NodeRun]) -> list[Foreseen]:
    question = ReadHooks(
        sequences=tuple(
            HookSequence(
                directories=run.directories, main_version=run.main_version, about=run.about
            )
            for run in runs.values()
        )
    )
    try:
        async with asyncio.timeout(PATIENCE):
            found = await context.agents.ask(to, question, PATIENCE)
    except GantryError as error:
        return [Foreseen(phase=one, node=to.name, problem=error.message) for one in runs]
    except TimeoutError:
        late = f"it did not answer within {PATIENCE:g} seconds"
        return [Foreseen(phase=one, node=to.name, problem=late) for one in runs]
    return [
        Foreseen(phase=phase, node=to.name, scripts=scripts)
        for phase, scripts in zip(runs, found.sequences, strict=True)
    ]
