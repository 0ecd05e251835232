"""The index of all runs of hook scripts in the cluster, in a file of its own on the master.

It can be lost: the agents have the records. So it does not wait for the disk, is not copied to
candidates, and a damaged one is set aside and made anew. Implements
``gantry.supervision.hook_runs.RunIndex``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from gantry.history.file import HistoryFile, connect
from gantry.model.hook_orders import ScriptStatus
from gantry.model.hook_runs import HookRun, HookRunChoice
from gantry.model.names import Uuid

logger = logging.getLogger(__name__)
_SCHEMA: Final = """
create table if not exists hook_runs (
    started real not null, id text not null unique, node text not null, object text not null,
    kind text not null, operation text not null, opcode text not null, phase text not null,
    job integer not null, directory text not null, script text not null, failed integer not null,
    run blob not null
) strict;
create index if not exists hook_runs_by_time on hook_runs (started);
create index if not exists hook_runs_by_object on hook_runs (object, started);
create index if not exists hook_runs_by_node on hook_runs (node, started);
create index if not exists hook_runs_by_operation on hook_runs (operation, started);
create index if not exists hook_runs_by_script on hook_runs (script, started);
create index if not exists hook_runs_by_job on hook_runs (job, started) where job > 0;
create index if not exists hook_runs_by_failure on hook_runs (started) where failed;
create table if not exists hook_ledgers (
    node text primary key, ledger text not null, serial integer not null
) strict, without rowid;
"""
_LEDGER: Final = "insert or replace into hook_ledgers values (?,?,?)"
_INSERT: Final = "insert or ignore into hook_runs values (?,?,?,?,?,?,?,?,?,?,?,?,?)"
_run: msgspec.json.Decoder[HookRun] = msgspec.json.Decoder(HookRun)


async def open_hook_runs(path: Path) -> SqliteHookRuns:
    """Open or make the tables in the file; raises HistoryUnavailable."""
    return await SqliteHookRuns(path).open()


class SqliteHookRuns(HistoryFile):
    """Use ``open_hook_runs``."""

    thread = "hook-runs"

    async def ledgers(self) -> dict[Uuid, tuple[str, int]]:
        """For each node the ledger that is known, and the serial up to which it is."""

        def work(connection: apsw.Connection) -> dict[Uuid, tuple[str, int]]:
            found = connection.execute("select node, ledger, serial from hook_ledgers")
            return {Uuid(node): (ledger, serial) for node, ledger, serial in found}

        return await self._do(work)

    async def add(
        self, runs: Sequence[HookRun], ledgers: Sequence[tuple[Uuid, str, int]] = ()
    ) -> None:
        """Keep runs; the same ones again change nothing. ``ledgers``: (node, ledger, serial)."""
        rows = [_row(one) for one in runs]

        def work(connection: apsw.Connection) -> None:
            with connection:
                connection.executemany(_INSERT, rows)
                connection.executemany(_LEDGER, ledgers)

        await self._do(work)

    async def find(self, choice: HookRunChoice) -> list[HookRun]:
        """Those that were chosen, newest first."""
        return await self._do(lambda connection: _find(connection, choice))

    async def get(self, run: str) -> HookRun | None:
        """One run by its id, or by a beginning of it that no other has."""

        def work(connection: apsw.Connection) -> list[bytes]:
            found = connection.execute(
                "select run from hook_runs where id >= ? and id < ? limit 2", (run, run + "~")
            )
            return [data for (data,) in found]

        found = await self._do(work)
        return _run.decode(found[0]) if len(found) == 1 else None

    async def prune(self, before: float, most: int) -> None:
        """Forget runs that started before then, and the oldest where there are more than that."""

        def work(connection: apsw.Connection) -> None:
            with connection:
                connection.execute("delete from hook_runs where started < ?", (before,))
                connection.execute(
                    "delete from hook_runs where started <= (select started from hook_runs"
                    " order by started desc limit 1 offset ?)",
                    (most,),
                )

        await self._do(work)

    def _connect(self) -> apsw.Connection:
        """A damaged one is set aside, and made anew."""
        try:
            return connect(self._path, "normal", _SCHEMA)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            aside = self._path.with_name(f"{self._path.name}.damaged-{time.time():.0f}")
            self._path.rename(aside)
            logger.error("%s is damaged (%s); set aside as %s", self._path, error, aside.name)
            return connect(self._path, "normal", _SCHEMA)


def _row(run: HookRun) -> tuple[Any, ...]:
    result = run.result
    return (
        result.started,
        run.id,
        run.node,
        run.object,
        run.kind,
        run.operation,
        run.opcode,
        run.phase,
        run.job,
        result.directory,
        result.script,
        int(result.status is ScriptStatus.FAILED),
        msgspec.json.encode(run),
    )


def _find(connection: apsw.Connection, choice: HookRunChoice) -> list[HookRun]:
    clauses = dict(_clauses(connection, choice))
    sql = (
        f"select run from hook_runs where {' and '.join(clauses)}"  # noqa: S608 - the clauses are ours
        " order by started desc limit ?"
    )
    values = [value for given in clauses.values() for value in given]
    return [_run.decode(data) for (data,) in connection.execute(sql, (*values, choice.limit))]


def _clauses(
    connection: apsw.Connection, choice: HookRunChoice
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Conditions, each with its values."""
    directory, _, script = choice.script.rpartition("/")
    yield "started >= ?", (choice.since,)
    if choice.instance:
        yield "kind = 'INSTANCE'", ()
        yield "object = ?", (_whole(connection, "object", choice.instance),)
    if choice.node:
        yield "node = ?", (_whole(connection, "node", choice.node),)
    if choice.job is not None:
        yield "job = ? and job > 0", (choice.job,)
    if choice.failed:
        yield "failed", ()
    texts = {
        "operation": choice.operation,
        "phase": choice.phase,
        "script": script,
        "directory": directory,
    }
    for column, value in texts.items():
        if value:
            yield f"{column} = ?", (value,)


def _whole(connection: apsw.Connection, column: str, name: str) -> str:
    """``name`` itself where there are runs of it, else a name that begins with it and a dot."""
    # Two questions: sorting all runs of one name would cost as much as there are of them.
    exact = f"select 1 from hook_runs where {column} = ? limit 1"  # noqa: S608 - ours
    if connection.execute(exact, (name,)).get:
        return name
    longer = f"select {column} from hook_runs where {column} >= ? and {column} < ? limit 1"  # noqa: S608
    return str(connection.execute(longer, (name + ".", name + "/")).get or name)
