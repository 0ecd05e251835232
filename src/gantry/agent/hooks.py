"""Running a phase's hook scripts on this node. Which and with what, the master decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import told
from gantry.agent.effect import Task
from gantry.agent.ledger import Ledger
from gantry.agent.parts import Parts
from gantry.hooks import watcher
from gantry.host.command import in_thread
from gantry.host.daemon import Identity
from gantry.host.listing import DIRECTORY as DIRECTORY
from gantry.host.listing import entries, listing, runnable
from gantry.host.process import Stop
from gantry.host.short_turns import Turn
from gantry.model.errors import Rejected
from gantry.model.orders import HookDirectory, HooksRan, HooksRun

EXCHANGE: Final = "run/gantry/hooks"
"""Context and verdicts of the scripts that are running."""
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}(?:\.d)?")
_DATA_DIRECTORY: Final = "GANETI_DATA_DIR"


def nothing_to_run(parts: Parts, order: HooksRun) -> HooksRan | None:
    """The answer where no script would run, which is most often so; None where one would."""
    check_names(parts, order.directories)
    base, passed = parts.root / DIRECTORY, False
    for script in entries(base, order):
        # The first one that runs is enough: all are looked at again when they do.
        if not script.skip:
            return None
        passed = True
    if not passed:
        return HooksRan(results=())
    found = listing(base, order)
    if runnable(found):
        return None
    from gantry.host.script_results import skipped  # as below

    return HooksRan(results=tuple(skipped(script, script.skip) for script in found))


async def run(parts: Parts, order: HooksRun, task: Task) -> HooksRan:
    """All scripts of the order's directories, in one sequence."""
    check_names(parts, order.directories)
    return await run_below(parts.root, order, parts.ledger, task.started, task.starter)


async def run_below(
    root: Path,
    order: HooksRun,
    ledger: Ledger,
    on_started: Callable[[Identity], None] | None = None,
    on_starter: Callable[[Identity], None] | None = None,
) -> HooksRan:
    """The same, of the node with that root; each run is recorded.

    Scripts of ``watcher`` are told as little as the agent tells them.
    """
    stop = Stop()

    def recorded() -> HooksRan:
        # From the beginning: many phases that begin at once would fight for the interpreter.
        with Turn() as turn:
            return _recorded(turn, root, order, ledger, stop, on_started, on_starter)

    # All of it in one thread: to go from one to another costs as much as starting a script.
    return await in_thread(stop, recorded)


def _recorded(
    turn: Turn,
    root: Path,
    order: HooksRun,
    ledger: Ledger,
    stop: Stop,
    on_started: Callable[[Identity], None] | None,
    on_starter: Callable[[Identity], None] | None,
) -> HooksRan:
    # An agent whose node has no scripts need not have it in memory.
    from gantry.host.scripts import run_sequence

    phase = ledger.phase(order)
    alone = [one.name for one in order.directories] == [watcher.DIRECTORY]
    extra = watcher.added(str(root), order.run_id) if alone else _extra(root, order)
    rooted = {
        version: _rooted(root, environment) for version, environment in order.environments.items()
    }
    order = msgspec.structs.replace(order, environments=rooted, context=_context(order))
    try:
        ran = run_sequence(
            root / DIRECTORY,
            order,
            extra,
            stop,
            turn,
            on_started=on_started,
            on_starter=on_starter,
            # Of scripts that must not run again each result is recorded by itself.
            on_brief=None if told.of_failure(order) else phase.brief,
            notes=None if told.of_failure(order) else phase.notes,
            on_results=lambda results, last: phase.ended(*results, last=last),
            outputs=phase.outputs,
            exchange=None if alone else root / EXCHANGE,
            done=phase.done,
        )
    finally:
        phase.close()
    return phase.finished(ran)


def _extra(root: Path, order: HooksRun) -> dict[str, str]:
    """What is added to each environment on this node."""
    found = {
        "GANTRY_ROOT": str(root),
        "GANTRY_JOB": str(order.job),
        "GANTRY_RUN_ID": order.run_id,
        "GANTRY_ATTEMPT": str(order.attempt),
    }
    return {**found, "GANTRY_DRY_RUN": "1"} if order.dry_run else found


def _context(order: HooksRun) -> msgspec.Raw:
    """The master's document, and what it leaves to the order itself: a repeat has the same one."""
    own = msgspec.json.encode({"run": order.run_id, "attempt": order.attempt})
    rest = bytes(order.context)[1:]
    return msgspec.Raw(own[:-1] + (b"" if rest.lstrip().startswith(b"}") else b",") + rest)


def check_names(parts: Parts, directories: Iterable[HookDirectory]) -> None:
    """Rejected where one is not the name of a hooks directory."""
    for directory in directories:
        if not _NAME.fullmatch(directory.name):
            raise Rejected(f"{directory.name!r} is not a hooks directory", node=parts.node)


def _rooted(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """Paths of the node as scripts can open them, where its root is not ``/``."""
    data = environment.get(_DATA_DIRECTORY)
    if data is None:
        return environment
    return {**environment, _DATA_DIRECTORY: str(root / data.lstrip("/"))}
