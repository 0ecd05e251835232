"""The scripts of ``cluster-init``, which no job runs: there is no master yet.

As the hook interface says: in version 1 before and after the cluster is made, in version 2 after;
where it could not be made, those that were asked before are told so.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.hooks import run_below
from gantry.agent.ledger import Ledger
from gantry.hooks import failure
from gantry.hooks.context import Asked, Failed, Moment, document
from gantry.hooks.failure import FailureKind
from gantry.hooks.plan import NodeRun, phase_runs
from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.table import Phase, row
from gantry.hooks.verdict import NodeScripts, cautions, denial, notices, warnings
from gantry.model.errors import HooksDenied
from gantry.model.orders import HooksRun, ScriptResult
from gantry.model.snapshot import Snapshot

OPCODE: Final = "OP_CLUSTER_POST_INIT"
_SUBJECT: Final = Subject(kind=SubjectKind.CLUSTER)


@contextlib.asynccontextmanager
async def around(root: Path, cluster: Snapshot, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Run the scripts before and after; HooksDenied where one said no."""
    scripts = _Scripts(root, cluster, say)
    denied = denial([await scripts.run(Phase.PRE)])
    if denied is not None:
        await scripts.tell_failure(FailureKind.DENIED, denied)
        raise denied
    try:
        yield
    except Exception as error:
        await scripts.tell_failure(FailureKind.FAILED, error)
        raise
    scripts.warn(await scripts.run(Phase.POST))


class _Scripts:
    def __init__(self, root: Path, cluster: Snapshot, say: Callable[[str], None]) -> None:
        self._root = root
        self._cluster = cluster
        self._say = say

    async def tell_failure(self, kind: FailureKind, error: Exception) -> None:
        """To those that were asked before."""
        message = error.message if isinstance(error, HooksDenied) else str(error)
        self.warn(await self.run(Phase.FAIL, Failed(kind=kind.value, message=message)))

    def warn(self, scripts: NodeScripts) -> None:
        """Of scripts that failed and deny nothing."""
        for line in warnings([scripts]):
            self._say(line)

    async def run(self, phase: Phase, failed: Failed | None = None) -> NodeScripts:
        """All scripts of a phase; there is one node."""
        cluster = self._cluster
        after = (cluster, _SUBJECT) if phase is Phase.POST else (None, None)
        runs = phase_runs(OPCODE, phase, cluster, _SUBJECT, *after)
        results = [one for each in runs for one in await self._one(each, phase, failed)]
        scripts = NodeScripts(node=cluster.master.name, results=tuple(results))
        for line in (*notices([scripts]), *cautions([scripts])):
            self._say(line)
        return scripts

    async def _one(
        self, run: NodeRun, phase: Phase, failed: Failed | None
    ) -> tuple[ScriptResult, ...]:
        cluster = self._cluster
        now = Moment(cluster=cluster, subject=_SUBJECT)
        entry = row(OPCODE)
        told = document(entry, entry.op_code, phase, Asked(), now, now, failed)
        about = told["object"]
        # Before, there is no cluster, nor is there one where it could not be made.
        about["before"] = None
        if phase is Phase.FAIL:
            about["after"] = None
        extra = {} if failed is None else _variables(failed)
        order = HooksRun(
            directories=run.directories,
            environments=run.environments,
            main_version=run.main_version,
            job=0,
            run_id=f"init-{cluster.cluster.uuid}",
            attempt=1,
            about=run.about,
            context=msgspec.Raw(msgspec.json.encode({**told, "node": cluster.master.name})),
            extra=extra,
        )
        with contextlib.closing(Ledger(self._root, cluster.master.name)) as ledger:
            return (await run_below(self._root, order, ledger)).results


def _variables(failed: Failed) -> dict[str, str]:
    return failure.variables(FailureKind(failed.kind), failed.message)
