"""The record of every run of a hook script on this node: rows in SQLite, outputs in files.

Nothing waits for the disk: what was recorded survives kill -9, not a power cut. Several
processes may write (the agent, the making of a cluster, a test). A phase is never held up or
failed because something could not be recorded. No script is run here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gantry.agent import interrupted, told
from gantry.agent.ended_file import EndedFile, PhaseNotes
from gantry.agent.ledger_bounds import USUAL, fitting, forget, size_kept, size_of
from gantry.agent.ledger_bounds import Bounds as Bounds
from gantry.agent.ledger_file import last_serial, one_run, opened
from gantry.hooks.disabled import PREFIX as DISABLED
from gantry.hooks.record import run_of
from gantry.host.listing import DIRECTORY, Script, planned
from gantry.host.outputs import text
from gantry.host.process import Ended
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.hook_orders import HooksRan, HooksRun, Kept, ScriptResult, ScriptStatus
from gantry.model.hook_runs import HookRun, HookRunRecord, KeptRuns, Origin, ReadHookRuns

DATABASE: Final = "var/lib/gantry/hooks.db"
ENDED: Final = "var/lib/gantry/hooks.ended"
"""Beside it: what is not yet in it."""
OUTPUTS: Final = "var/log/gantry/hooks"
_MOST: Final = 1000
"""Runs in one answer."""
_OPEN: Final = -1
"""The size of a phase that has not ended."""
_OPEN_PHASES: Final = f'SELECT id, outputs, started, "order" FROM phases WHERE size = {_OPEN}'  # noqa: S608
_INSERT: Final = "INSERT INTO runs(id, phase, started, run) VALUES(?,?,?,?)"
_encoder: Final = msgspec.json.Encoder()
_run: msgspec.json.Decoder[HookRun] = msgspec.json.Decoder(HookRun)
_order: msgspec.json.Decoder[HooksRun] = msgspec.json.Decoder(HooksRun)
logger = logging.getLogger(__name__)


class Ledger:
    """Of the node with that root; opened when it is needed first. May be called in any thread."""

    def __init__(
        self, root: Path, node: str, bounds: Bounds = USUAL, origin: Origin | None = None
    ) -> None:
        """``origin`` is said of all runs, where the order itself does not tell it."""
        self._root = root
        self._path = root / DATABASE
        self._outputs = root / OUTPUTS
        self._node = node
        self._bounds = bounds
        self._origin = origin
        self._lock = threading.RLock()
        self._database: apsw.Connection | None = None
        self._notes = root / ENDED
        self._ends = EndedFile(self._notes)
        self._open = 0
        self._name = ""
        self._size = 0

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            self._ends.close()

    def phase(self, order: HooksRun) -> Phase:
        """Record the runs of one order; to be told each result, and of the end."""
        return Phase(self, order)

    def recover(self) -> None:
        """Once, when an agent starts: note the script that ran when an earlier one was killed."""
        if not self._path.exists():
            return
        with self._lock:
            try:
                for phase, place, started, packed in list(self._opened().execute(_OPEN_PHASES)):
                    self._recover(phase, place, started, packed)
                self._ends.clear()
            except (apsw.Error, OSError) as error:
                logger.warning("the ledger of hooks: %s", error)

    def _recover(self, phase: int, place: str, started: float, packed: bytes) -> None:
        """One phase. One that cannot be read is ended as it is: it would never be readable."""
        try:
            order = _order.decode(zlib.decompress(packed))
            self._interrupted(phase, place, started, order)
        except (OSError, msgspec.MsgspecError, zlib.error) as error:
            logger.warning("the ledger of hooks: phase %d, %s: %s", phase, place, error)
            self._end(phase, place, size_of(self._outputs / place))

    def _interrupted(self, phase: int, place: str, started: float, order: HooksRun) -> None:
        known = self._opened().execute("SELECT run FROM runs WHERE phase = ?", (phase,))
        results = [_run.decode(data).result for (data,) in known]
        found = interrupted.results(
            planned(self._root / DIRECTORY, order),
            {(one.directory, one.script) for one in results} | self._told(order).keys(),
            self._ends.of(phase, started),
            self._outputs / place,
            max([started, *(one.started + one.duration for one in results)]),
        )
        if found:
            self._add(phase, [run_of(order, self._node, one, self._origin) for one in found])
        self._end(phase, place, sum(size_kept(one) for one in (*results, *found)))

    # Reading

    def page(self, question: ReadHookRuns) -> KeptRuns:
        """Runs after a serial, oldest first; OperationFailed where the file cannot be read."""
        with self._lock:
            database = self._reading()
            after = question.after if question.ledger == self._name else 0
            limit = max(1, min(question.limit, _MOST))
            found = list(
                database.execute(
                    "SELECT serial, run FROM runs WHERE serial > ? AND started >= ?"
                    " ORDER BY serial LIMIT ?",
                    (after, question.since, limit + 1),
                )
            )
            rows = fitting(found[:limit])
            more = len(found) > len(rows)
            last = rows[-1][0] if more else last_serial(database)
        return KeptRuns(
            runs=tuple(_run.decode(data) for _, data in rows),
            kept=Kept(self._name, after, max(after, last)),
            more=more,
        )

    def record(self, run: str) -> HookRunRecord:
        """One run with its output; Rejected where there is none of that id."""
        with self._lock:
            found = one_run(self._reading(), run)
        if found is None:
            raise Rejected(
                f"node {self._node} keeps no run {run}",
                "it may be too old: gnt-hook history shows those that are known",
                reason=Reason.UNKNOWN,
                node=self._node,
            )
        known = _run.decode(found[0])
        directory = self._outputs / found[2]
        return HookRunRecord(
            run=known,
            order=_order.decode(zlib.decompress(found[1])),
            stdout=text(directory, known.result.stdout),
            stderr=text(directory, known.result.stderr),
        )

    # Bounds

    def prune(self, now: float) -> None:
        """Forget what is too old or too much: first outputs, then runs."""
        if not self._path.exists():
            return
        with self._lock:
            try:
                self._prune(self._opened(), now)
            except (apsw.Error, OSError) as error:
                logger.warning("the ledger of hooks cannot be pruned: %s", error)

    def _prune(self, database: apsw.Connection, now: float) -> None:
        for name in forget(database, self._bounds, now):
            shutil.rmtree(self._outputs / name, ignore_errors=True)
            self._remove_day(name)
        self._size = database.execute("SELECT total(size) FROM phases").get

    # Writing, for ``Phase``

    def _end(self, phase: int, outputs: str, size: int) -> None:
        self._note_end(phase, size)
        self._tidy(outputs, size)

    def _told(self, order: HooksRun) -> told.Told:
        """What must not be done again; what is only tried may be, as often as one likes."""
        if self._origin is Origin.TEST or not told.of_failure(order):
            return {}
        with self._lock:
            return told.results(self._opened(), self._outputs, order)

    def _up_to(self) -> Kept:
        """No run of a phase, but all before it: who does not know those is to ask."""
        with self._lock:
            last = last_serial(self._opened())
            return Kept(self._name, last, last)

    def _begin(self, order: HooksRun, outputs: str, started: float) -> int:
        with self._lock:
            database = self._opened()
            # Both or none: nobody would close a phase of which we do not know that it is open.
            with database:
                database.execute(
                    'INSERT INTO phases(outputs, size, started, "order") VALUES(?,?,?,?)',
                    (outputs, _OPEN, started, zlib.compress(msgspec.json.encode(order), 1)),
                )
                phase = database.last_insert_rowid()
                if self._origin is not Origin.TEST and told.of_failure(order):
                    told.note(database, phase, order)
            self._open += 1
            return phase

    def _add(self, phase: int, runs: Sequence[HookRun], size: int | None = None) -> Kept:
        """All or none of them, one after the other; with a size the phase ends with them."""
        rows = [(run.id, phase, run.result.started, _encoder.encode(run)) for run in runs]
        with self._lock:
            database = self._opened()
            with database:
                database.executemany(_INSERT, rows)
                last = database.last_insert_rowid()
                if size is not None:
                    self._note_end(phase, size)
            return Kept(self._name, last - len(rows), last)

    def _ended(self, phase: int, number: int, script: Script, began: float, ended: Ended) -> None:
        with self._lock:
            self._ends.add(phase, number, script.directory, script.name, began, ended)

    def _close(self, phase: int, outputs: str, size: int, *, noted: bool) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._ends.tidy()
            if not noted:
                self._note_end(phase, size)
            self._tidy(outputs, size)

    def _note_end(self, phase: int, size: int) -> None:
        self._opened().execute("UPDATE phases SET size = ? WHERE id = ?", (size, phase))
        self._size += size

    def _tidy(self, outputs: str, size: int) -> None:
        if not size:
            self._remove_empty(outputs)
        elif self._size > self._bounds.output * 1024 * 1024:
            self.prune(time.time())

    def _remove_empty(self, outputs: str) -> None:
        """A phase's directory, if it was made for nothing."""
        with contextlib.suppress(OSError):
            os.rmdir(f"{self._outputs}/{outputs}")  # noqa: PTH106 - on the fast path
            self._remove_day(outputs)

    def _remove_day(self, outputs: str) -> None:
        with contextlib.suppress(OSError):
            (self._outputs / outputs).parent.rmdir()

    def _reading(self) -> apsw.Connection:
        try:
            return self._opened()
        except (apsw.Error, OSError) as error:
            raise OperationFailed(
                f"the ledger of hooks {self._path} on node {self._node} cannot be read: {error}",
                "see whether its disk is full or broken",
                reason=Reason.ENVIRONMENT,
                node=self._node,
            ) from error

    def _opened(self) -> apsw.Connection:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._outputs.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self._database = opened(self._path)
            except (apsw.CorruptError, apsw.NotADBError) as error:
                aside = self._path.with_name(f"{self._path.name}.damaged-{time.time():.0f}")
                self._path.rename(aside)
                logger.error("%s is damaged (%s); set aside as %s", self._path, error, aside.name)
                self._database = opened(self._path)
            self._name = self._database.execute("SELECT value FROM facts WHERE name='ledger'").get
            self._size = self._database.execute("SELECT total(size) FROM phases").get
        return self._database


class Phase:
    """The runs of one order. ``outputs`` is where the scripts' files go, or None.

    ``done`` are the results that an earlier attempt has recorded, of scripts that must not run
    again; they are told like others and stay the records of that attempt.
    """

    def __init__(self, ledger: Ledger, order: HooksRun) -> None:
        self._ledger = ledger
        self._order = order
        self._records: list[tuple[str, float]] = []
        """Of each result the name of its record, or "", and when it began."""
        self._kept: Kept | None = None
        self._size = 0
        self._noted = False
        """Whether its end is."""
        self._number: int | None = None
        self._last = int.from_bytes(os.urandom(6), "big")
        self._began = began = time.time()
        self._place = f"{time.strftime('%Y-%m-%d', time.localtime(began))}/{os.urandom(6).hex()}"
        self.done: told.Told = {}
        try:
            self.done = ledger._told(order)
            self._kept = ledger._up_to() if self.done else None
            self._number = ledger._begin(order, self._place, began)
        except (apsw.Error, OSError, msgspec.MsgspecError) as error:
            logger.warning("the runs of hooks cannot be recorded: %s", error)

    @property
    def outputs(self) -> Path | None:
        """None where nothing can be recorded."""
        return None if self._number is None else self._ledger._outputs / self._place

    @property
    def notes(self) -> PhaseNotes | None:
        """For who says himself of short scripts how they ended; else ``brief`` does."""
        if self._number is None:
            return None
        return PhaseNotes(self._ledger._notes, self._number, self._began)

    def ended(self, *results: ScriptResult, last: bool = False) -> None:
        """Results of scripts, in order, as soon as they are known; ``last`` if no more follow."""
        now = time.time()
        records = []
        rows = []
        for one in results:
            # What could not even be begun has no time of its own.
            began, name = one.started or now, ""
            if self._number is not None and _is_kept(one):
                name = self._name()
                rows.append(msgspec.structs.replace(one, started=began, run=name))
            records.append((name, began if name else one.started))
        if not self._recorded(rows, last=last):
            records = [("", one.started) for one in results]
        self._records += records

    def brief(self, number: int, script: Script, began: float, ended: Ended) -> None:
        """A short script has ended; its result follows, unless we are killed before that."""
        if self._number is None:
            return
        try:
            self._ledger._ended(self._number, number, script, began, ended)
        except OSError as error:
            logger.warning("the end of %s/%s: %s", script.directory, script.name, error)

    def _name(self) -> str:
        """One that nobody else has; near the last, so that few pages of the index change."""
        self._last = (self._last + 1) % 2**48
        return f"{self._last:012x}"

    def _recorded(self, results: list[ScriptResult], *, last: bool) -> bool:
        ledger = self._ledger
        if not results or self._number is None:
            return True
        size = self._size + sum(size_kept(one) for one in results)
        try:
            runs = [run_of(self._order, ledger._node, one, ledger._origin) for one in results]
            kept = ledger._add(self._number, runs, size if last else None)
        except (apsw.Error, OSError) as error:
            names = ", ".join(f"{one.directory}/{one.script}" for one in results)
            logger.warning("the runs of %s cannot be recorded: %s", names, error)
            return False
        before = self._kept.before if self._kept is not None else kept.before
        self._kept = Kept(kept.ledger, before, kept.last)
        self._size, self._noted = size, last
        return True

    def close(self) -> None:
        """There are no more results, be it that the phase was cancelled."""
        if self._number is not None:
            try:
                self._ledger._close(self._number, self._place, self._size, noted=self._noted)
            except (apsw.Error, OSError) as error:
                logger.warning("the end of a phase of hooks cannot be recorded: %s", error)

    def finished(self, ran: HooksRan) -> HooksRan:
        """The answer, with the names of the records in it."""
        results = tuple(
            msgspec.structs.replace(result, run=name, started=began)
            for result, (name, began) in zip(ran.results, self._records, strict=True)
        )
        return HooksRan(results=results, kept=self._kept)


def _is_kept(result: ScriptResult) -> bool:
    """Whether there was a run to be recorded, and nobody has done so before."""
    passed = result.status is ScriptStatus.SKIPPED and not result.problem.startswith(DISABLED)
    return not passed and not result.run
