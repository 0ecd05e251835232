"""Running the hook scripts of a phase on all of its nodes; what they are told is ``hooks``'."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from gantry.hooks import verdict
from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.subject import Subject
from gantry.hooks.table import Phase
from gantry.hooks.verdict import NodeScripts
from gantry.jobs import issue
from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.model.jobs import DryRun, LogKind
from gantry.model.names import Uuid
from gantry.model.orders import HooksRun, ScriptStatus
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address

if TYPE_CHECKING:
    from gantry.jobs.attempt import Attempt

PHASE: Final = timeouts.SLOW
"""All scripts of one node; each has its own limit, which the agent keeps."""


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The scripts of the pre phase, and what they are told about."""

    hooked: bool = False
    before: Snapshot | None = None
    subject: Subject | None = None
    nodes: tuple[NodeRun, ...] = ()


def before(attempt: Attempt, snapshot: Snapshot) -> Runs:
    """What runs before the operation, whose locks are held."""
    operation = attempt.operation
    if not operation.hooked:
        return Runs(before=snapshot)
    subject = operation.subject(attempt.plan, snapshot)
    if subject is None:
        return Runs(before=snapshot)
    nodes = phase_runs(operation.opcode, Phase.PRE, snapshot, subject)
    return Runs(hooked=True, before=snapshot, subject=subject, nodes=nodes)


async def run_before(attempt: Attempt) -> None:
    """Run the pre scripts; raises HooksDenied where a script failed, after all have run."""
    if not attempt.runs.nodes:
        return
    scripts = await _run(attempt, "hooks-pre", attempt.runs.nodes)
    _warn(attempt, verdict.unreachable(scripts, "pre"))
    denied = verdict.denial(scripts)
    if denied is not None:
        raise denied


async def run_after(attempt: Attempt) -> tuple[NodeScripts, ...]:
    """Run the post scripts, then those for a changed configuration; nothing fails any more."""
    runs, operation = attempt.runs, attempt.operation
    scripts: tuple[NodeScripts, ...] = ()
    assert runs.before is not None
    if runs.hooked and runs.subject is not None:
        after = attempt.context.state.snapshot()
        nodes = phase_runs(
            operation.opcode,
            Phase.POST,
            runs.before,
            runs.subject,
            after,
            _subject_after(attempt, after),
        )
        scripts = await _run(attempt, "hooks-post", nodes)
        _warn(attempt, verdict.warnings(scripts))
        _warn(attempt, verdict.unreachable(scripts, "post"))
    if attempt.turn is not None and attempt.turn.changed:
        update = config_update(operation.opcode, runs.before, runs.subject)
        await _run(attempt, "hooks-config-update", [update])
    return scripts


def _subject_after(attempt: Attempt, after: Snapshot) -> Subject | None:
    """The subject as the operation left it; as it was where the object is gone."""
    try:
        return attempt.operation.subject(attempt.plan, after)
    except KeyError:
        return attempt.runs.subject


async def _run(attempt: Attempt, name: str, nodes: Iterable[NodeRun]) -> tuple[NodeScripts, ...]:
    """All nodes side by side."""
    return tuple(await asyncio.gather(*(_on(attempt, name, node) for node in nodes)))


async def _on(attempt: Attempt, name: str, run: NodeRun) -> NodeScripts:
    context, entry = attempt.context, attempt.entry
    to = _address(attempt, run.node)
    # A run after a crash is another run: the scripts must expect to be run again.
    key = f"{entry.job.uid}/{attempt.op}/{name}/{run.node}/{entry.job.attempt}"
    order = HooksRun(
        directories=run.directories,
        environments=run.environments,
        main_version=run.main_version,
        job=entry.id,
        run_id=attempt.run_id,
        attempt=entry.job.attempt,
        dry_run=entry.job.dry_run is DryRun.HOOKS,
    )
    try:
        ran = await issue.issue(context, entry, to, key, order, timeout=PHASE, op=attempt.op)
    except GantryError as error:
        return NodeScripts(node=to.name, problem=error.message)
    for result in ran.results:
        if result.output and result.status is not ScriptStatus.SKIPPED:
            text = f"{to.name} {result.directory}/{result.script}: {result.output.rstrip()}"
            issue.say(context, entry, text, LogKind.SCRIPT, attempt.op)
    return NodeScripts(node=to.name, results=ran.results)


def _address(attempt: Attempt, node: Uuid) -> Address:
    """Also of a node that the operation removed."""
    assert attempt.runs.before is not None
    known = attempt.runs.before.nodes.get(node)
    if known is None:
        return attempt.context.address(node)
    return Address(node=node, name=known.name, host=known.primary_ip, port=known.port)


def _warn(attempt: Attempt, lines: Iterable[str]) -> None:
    for line in lines:
        issue.say(attempt.context, attempt.entry, line, LogKind.WARNING, attempt.op)
