"""Running the hook scripts of a phase on all of its nodes; what they are told is ``hooks``'."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from gantry.hooks import verdict
from gantry.hooks.plan import NodeRun, config_update, phase_runs
from gantry.hooks.subject import Subject
from gantry.hooks.table import Phase
from gantry.hooks.verdict import NodeScripts
from gantry.jobs import issue
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.model import timeouts
from gantry.model.errors import Cancelled, GantryError, Interrupted, Unavailable
from gantry.model.jobs import DryRun, LogKind
from gantry.model.names import Uuid
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus
from gantry.model.snapshot import Snapshot
from gantry.operations.base import AnyOperation, Plan
from gantry.ports.agents import Address

TURNS: Final = 3
"""How often scripts are begun whose agent is restarted while they run."""
PHASE: Final = timeouts.HOOK_PHASE
"""All scripts of one node; each has its own limit, which the agent keeps."""


class Phases:
    """The scripts of one operation; ``plan`` comes before anything else.

    ``before`` is the cluster as it was when the operation was checked, also after a crash.
    """

    def __init__(self, context: Context, entry: Entry, op: int, operation: AnyOperation) -> None:
        self._context = context
        self._entry = entry
        self._op = op
        self._operation = operation
        self._run_id = ""
        self._plan = Plan()
        self._before = context.state.snapshot()
        self._subject: Subject | None = None
        self._nodes: tuple[NodeRun, ...] = ()

    @property
    def hooked(self) -> bool:
        """Whether the operation has scripts at all."""
        return self._subject is not None

    @property
    def asks(self) -> bool:
        """Whether there are nodes whose pre scripts may deny."""
        return bool(self._nodes)

    def plan(self, plan: Plan, run_id: str, before: Snapshot) -> None:
        """What will run, now that the operation is planned."""
        self._plan, self._run_id, self._before = plan, run_id, before
        operation = self._operation
        if operation.hooked:
            self._subject = operation.subject(plan, before)
        if self._subject is not None:
            self._nodes = phase_runs(operation.opcode, Phase.PRE, before, self._subject)

    async def run_before(self) -> None:
        """Run the pre scripts; raises HooksDenied where a script failed, after all have run."""
        if not self._nodes:
            return
        scripts = await self._run("hooks-pre", self._nodes)
        self._warn(verdict.unreachable(scripts, "pre"))
        denied = verdict.denial(scripts)
        if denied is not None:
            raise denied

    async def run_after(self, *, changed: bool) -> tuple[NodeScripts, ...]:
        """Run the post scripts, then those for a changed configuration; nothing fails any more."""
        scripts: tuple[NodeScripts, ...] = ()
        if self._subject is not None:
            scripts = await self._run("hooks-post", self._post(self._subject))
            self._warn(verdict.warnings(scripts))
            self._warn(verdict.unreachable(scripts, "post"))
        if changed:
            update = config_update(self._operation.opcode, self._before, self._subject)
            await self._run("hooks-config-update", [update])
        return scripts

    def _post(self, subject: Subject) -> tuple[NodeRun, ...]:
        after = self._context.state.snapshot()
        try:
            later = self._operation.subject(self._plan, after)
        except KeyError:
            # The object is gone: it is described by what it was.
            later = subject
        return phase_runs(self._operation.opcode, Phase.POST, self._before, subject, after, later)

    async def _run(self, name: str, nodes: Iterable[NodeRun]) -> tuple[NodeScripts, ...]:
        """All nodes side by side."""
        return tuple(await asyncio.gather(*(self._on(name, node) for node in nodes)))

    async def _on(self, name: str, run: NodeRun) -> NodeScripts:
        """One node's scripts; run again where their agent was restarted meanwhile."""
        to = self._address(run.node)
        for turn in range(TURNS):
            try:
                ran = await self._issue(name, run, to, turn)
            except Unavailable as error:
                return NodeScripts(node=to.name, problem=error.message)
            except Interrupted as error:
                problem = error.message
                continue
            except Cancelled as error:
                return NodeScripts(node=to.name, problem=error.message)
            except GantryError as error:
                return NodeScripts(node=to.name, problem=error.message, refused=True)
            self._tell(to, ran.results)
            return NodeScripts(node=to.name, results=ran.results)
        return NodeScripts(node=to.name, problem=problem, refused=True)

    async def _issue(self, name: str, run: NodeRun, to: Address, turn: int) -> HooksRan:
        entry = self._entry
        # A run after a crash is another run: the scripts must expect to be run again.
        key = f"{entry.job.uid}/{self._op}/{name}/{run.node}/{entry.job.attempt}-{turn}"
        order = HooksRun(
            directories=run.directories,
            environments=run.environments,
            main_version=run.main_version,
            job=entry.id,
            run_id=self._run_id,
            attempt=entry.job.attempt + turn,
            dry_run=entry.job.dry_run is DryRun.HOOKS,
        )
        return await issue.issue(self._context, entry, to, key, order, timeout=PHASE, op=self._op)

    def _tell(self, to: Address, results: Iterable[ScriptResult]) -> None:
        for result in results:
            if result.output and result.status is not ScriptStatus.SKIPPED:
                text = f"{to.name} {result.directory}/{result.script}: {result.output.rstrip()}"
                issue.say(self._context, self._entry, text, LogKind.SCRIPT, self._op)

    def _address(self, node: Uuid) -> Address:
        """Also of a node that the operation removed."""
        known = self._before.nodes.get(node)
        if known is None:
            return self._context.address(node)
        return Address(node=node, name=known.name, host=known.primary_ip, port=known.port)

    def _warn(self, lines: Iterable[str]) -> None:
        for line in lines:
            issue.say(self._context, self._entry, line, LogKind.WARNING, self._op)
