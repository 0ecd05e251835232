"""Running the hook scripts of a phase on all of its nodes; what they are told is ``hooks``'."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gantry.hooks import context as told
from gantry.hooks import failure, verdict
from gantry.hooks.context import Asked, Failed, Moment
from gantry.hooks.failure import FailureKind
from gantry.hooks.plan import NodeRun, config_update, failure_runs, phase_runs
from gantry.hooks.policy import PolicyError, denies_unreachable
from gantry.hooks.subject import Subject
from gantry.hooks.table import ROWS, Phase
from gantry.hooks.verdict import NodeScripts
from gantry.jobs import issue
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.jobs.foresight import Foreseen, foresee, pre_failures
from gantry.model import timeouts
from gantry.model.errors import (
    Cancelled,
    ErrorInfo,
    GantryError,
    HooksDenied,
    Interrupted,
    Unavailable,
)
from gantry.model.jobs import DryRun, LogKind
from gantry.model.names import Uuid
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus
from gantry.model.snapshot import Snapshot
from gantry.operations.base import AnyOperation, Plan
from gantry.ports.agents import Address
from gantry.ports.steps import Outcome

TURNS: Final = 3
"""How often scripts are begun whose agent is restarted while they run."""
PHASE: Final = timeouts.HOOK_PHASE
"""All scripts of one node; each has its own limit, which the agent keeps."""


class _Round(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same on all nodes of a phase. ``once``: never again where it was recorded."""

    name: str
    document: dict[str, Any]
    extra: dict[str, str] = {}
    once: bool = False


class Phases:
    """The scripts of one operation; ``plan`` comes before anything else.

    ``before`` is the cluster as it was when the operation was checked, also after a crash.
    ``asked``: pre scripts have been sent to a node, or an earlier master may have done so.
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
        self.asked = False
        self.first_master: Uuid | None = None
        """The node of the master that began the operation, where an earlier one did."""

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
        # What is only tried has nothing to tidy up.
        self.asked = self._entry.job.dry_run is DryRun.NO
        round_ = _Round(name="hooks-pre", document=self._document(Phase.PRE))
        scripts = await self._run(round_, self._nodes)
        # Scripts that a cancel has ended are not those of a node that is away.
        self._entry.check_cancelled()
        scripts = verdict.binding(scripts, self._must_answer)
        self._warn(verdict.unreachable(scripts, "pre"))
        denied = verdict.denial(scripts)
        if denied is not None:
            raise denied

    async def run_after(self, *, changed: bool) -> tuple[NodeScripts, ...]:
        """Run the post scripts, then those for a changed configuration; nothing fails any more."""
        scripts: tuple[NodeScripts, ...] = ()
        if self._subject is not None:
            after = self._after(self._subject, self._context.state.snapshot())
            runs = phase_runs(
                self._operation.opcode,
                Phase.POST,
                self._before,
                self._subject,
                after.cluster,
                after.subject,
            )
            round_ = _Round(name="hooks-post", document=self._document(Phase.POST, after))
            scripts = await self._run(round_, runs)
            self._warn(verdict.warnings(scripts))
            self._warn(verdict.unreachable(scripts, "post"))
        if changed:
            await self.run_update()
        return scripts

    async def run_update(self) -> None:
        """Run the scripts for a changed configuration."""
        run = config_update(self._operation.opcode, self._before, self._subject)
        document = self._document(Phase.POST, self._moment())
        await self._run(_Round(name="hooks-config-update", document=document), [run])

    async def run_failed(self, kind: FailureKind, error: ErrorInfo | None) -> None:
        """Run the scripts for an operation that did not succeed; each at least once.

        A node that has recorded them does not run them again, whatever master asks.
        """
        if self._subject is None:
            why = "the program was changed while the job ran"
            self._warn([f"the scripts for a failed operation were not run: {why}"])
            return
        message = error.message if error is not None else ""
        failed = Failed(kind=kind.value, message=failure.shortened(message))
        round_ = _Round(
            name="hooks-fail",
            document=self._document(Phase.FAIL, self._moment(), failed),
            extra=failure.variables(kind, message),
            once=True,
        )
        opcode, first = self._operation.opcode, self.first_master
        runs = failure_runs(opcode, self._before, self._subject, first)
        scripts = await self._run(round_, runs)
        self._warn(verdict.warnings(scripts))
        self._warn(verdict.unreachable(scripts, "fail"))

    async def foreseen(self, outcome: Outcome | None, *, pre: bool) -> tuple[Foreseen, ...]:
        """Which scripts would run, asked of the nodes; ``pre``: those before it too.

        ``outcome`` is the operation's, None where that depends on what nodes answer.
        """
        opcode, before = self._operation.opcode, self._before
        phases: dict[str, tuple[NodeRun, ...]] = {"pre": self._nodes} if pre else {}
        if self._subject is not None:
            after = self._after(self._subject, _as_left(before, outcome))
            phases["post"] = phase_runs(
                opcode, Phase.POST, before, self._subject, after.cluster, after.subject
            )
            phases["fail"] = phase_runs(opcode, Phase.FAIL, before, self._subject)
        if outcome is None or outcome.put or outcome.delete:
            phases["config-update"] = (config_update(opcode, before, self._subject),)
        nodes = {run.node: self._address(run.node) for runs in phases.values() for run in runs}
        return await foresee(self._context, phases, nodes)

    def foreseen_denial(self, foreseen: Iterable[Foreseen]) -> HooksDenied | None:
        """The denial that is certain without running a script: of what cannot be read, say."""
        scripts = verdict.binding(pre_failures(foreseen), self._must_answer)
        return verdict.denial(scripts)

    def _moment(self) -> Moment:
        return Moment(cluster=self._context.state.snapshot(), subject=self._subject)

    def _after(self, subject: Subject, after: Snapshot) -> Moment:
        try:
            later = self._operation.subject(self._plan, after)
        except KeyError:
            # The object is gone: it is described by what it was.
            later = subject
        return Moment(cluster=after, subject=later)

    def _document(
        self, phase: Phase, after: Moment | None = None, failed: Failed | None = None
    ) -> dict[str, Any]:
        job = self._entry.job
        asked = Asked(
            job=job.id,
            operation=self._op,
            operations=len(job.ops),
            requester=job.requester,
            reason=job.reason,
            received=job.received,
            parameters=job.ops[self._op].input,
            dry_run=job.dry_run is not DryRun.NO,
        )
        row, opcode = ROWS.get(self._operation.opcode), self._operation.opcode
        code = row.op_code if row is not None else opcode
        before = Moment(cluster=self._before, subject=self._subject)
        return told.document(row, code, phase, asked, before, after, failed)

    def _must_answer(self, node: NodeScripts) -> bool | str:
        """Whether the master node's policy says that a node which does not answer denies."""
        try:
            policy = self._context.hook_policy()
        except PolicyError as error:
            return f"whether that denies is not known: {error}"
        return any(
            denies_unreachable(policy, directory.name, run.about)
            for run in self._nodes
            if self._address(run.node).name == node.node
            for directory in run.directories
        )

    async def _run(self, round_: _Round, nodes: Iterable[NodeRun]) -> tuple[NodeScripts, ...]:
        """All nodes side by side."""
        scripts = tuple(await asyncio.gather(*(self._on(round_, node) for node in nodes)))
        for line in verdict.notices(scripts):
            issue.say(self._context, self._entry, line, LogKind.SCRIPT, self._op)
        self._warn(verdict.cautions(scripts))
        return scripts

    async def _on(self, round_: _Round, run: NodeRun) -> NodeScripts:
        """One node's scripts; run again where their agent was restarted meanwhile."""
        to = self._address(run.node)
        for turn in range(TURNS):
            try:
                ran = await self._issue(round_, run, to, turn)
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

    async def _issue(self, round_: _Round, run: NodeRun, to: Address, turn: int) -> HooksRan:
        entry = self._entry
        key = f"{entry.job.uid}/{self._op}/{round_.name}/{run.node}"
        if not round_.once:
            # A run after a crash is another run: the scripts must expect to be run again.
            key = f"{key}/{entry.job.attempt}-{turn}"
        order = HooksRun(
            directories=run.directories,
            environments=run.environments,
            main_version=run.main_version,
            job=entry.id,
            run_id=self._run_id,
            attempt=_attempt(entry.job.attempt, turn),
            dry_run=entry.job.dry_run is DryRun.HOOKS,
            about=run.about,
            context=msgspec.Raw(msgspec.json.encode({**round_.document, "node": to.name})),
            extra=round_.extra,
        )
        return await issue.issue(
            self._context, entry, to, key, order, timeout=PHASE, op=self._op, undo=round_.once
        )

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


def _as_left(before: Snapshot, outcome: Outcome | None) -> Snapshot:
    """The cluster as an operation would leave it, as far as that is known."""
    if outcome is None:
        return before
    return before.with_changes(before.revision, outcome.put, outcome.delete)


def _attempt(master: int, turn: int) -> int:
    """Of a node's scripts: no two repeats have the same, and a later one has a higher one.

    ``master`` counts the masters that the job has had, and is written down; a turn is not, so
    each master has numbers of its own for all that it may take.
    """
    return (master - 1) * TURNS + turn + 1
