"""What an agent remembers across its own death: effects, running scripts, the epoch.

SQLite, in WAL mode and without waiting for the disk: that survives kill -9. After a power cut
some effects may be forgotten; the master then issues them again, which make-it-so orders
stand. Only the epoch is waited for. What the entries mean is decided in ``effects``.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gantry.host import machine
from gantry.model.errors import OperationFailed, Reason
from gantry.model.names import Uuid

logger = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS effects(
    key TEXT PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB, ended REAL NOT NULL,
    attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS effects_ended ON effects(ended);
CREATE TABLE IF NOT EXISTS scripts(
    pid INTEGER NOT NULL, started INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY(pid, started)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS markers(key TEXT PRIMARY KEY, marker TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


_ASIDE: Final = ".damaged-"
_STARTER: Final = "starter/"
"""What stands in the place of a key begins with it, and ends with the machine's boot: it stays
for as long as the agent does, and numbers of processes mean something else after a boot."""


class Entry(msgspec.Struct, frozen=True):
    """One effect: ``outcome`` is the last line of the answer, or None while a script runs."""

    digest: bytes
    outcome: bytes | None
    attempt: int


class Memory:
    """One file; may be called from any thread. A damaged file is set aside, and said so."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._starter = 0, 0
        """That was noted last."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database = _open(path)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            aside = path.with_name(f"{path.name}{_ASIDE}{time.time():.0f}")
            path.rename(aside)
            logger.error("%s is damaged (%s); set aside as %s", path, error, aside.name)
            self._database = _open(path)
        except apsw.Error as error:
            raise OperationFailed(
                f"the agent's memory {path} cannot be opened: {error}",
                "see whether another agent runs with the same root, and whether the disk is full",
                reason=Reason.ENVIRONMENT,
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    # Effects

    def get(self, key: str) -> Entry | None:
        """What is known of a key."""
        sql = "SELECT digest, outcome, attempt FROM effects WHERE key = ?"
        with self._lock:
            found = self._database.execute(sql, (key,)).fetchone()
        return Entry(*found) if found else None

    def put(
        self, key: str, digest: bytes, outcome: bytes | None, ended: float, attempt: int = 0
    ) -> None:
        """Remember an effect that has ended, or (no outcome) a script that begins."""
        sql = (
            "INSERT OR REPLACE INTO effects(key, digest, outcome, ended, attempt) VALUES(?,?,?,?,?)"
        )
        with self._lock:
            self._database.execute(sql, (key, digest, outcome, ended, attempt))

    def begin_script(self, key: str, digest: bytes, now: float, attempt: int, marker: str) -> None:
        """Remember that a script begins, and what it is known by: ``mark`` and ``put`` in one."""
        with self._lock, self._database:
            self.mark(key, marker)
            self.put(key, digest, None, now, attempt)

    def end_script(self, key: str, digest: bytes, outcome: bytes, now: float, attempt: int) -> None:
        """Remember what came of it: ``put`` and ``scripts_ended`` in one."""
        with self._lock, self._database:
            self.put(key, digest, outcome, now, attempt)
            self.scripts_ended(key)

    def delete(self, key: str) -> None:
        """Forget one effect."""
        with self._lock:
            self._database.execute("DELETE FROM effects WHERE key = ?", (key,))

    def forget(self, prefix: str) -> None:
        """Forget the effects that have ended and whose keys begin with ``prefix``."""
        sql = "DELETE FROM effects WHERE key >= ? AND key < ? AND outcome IS NOT NULL"
        with self._lock:
            self._database.execute(sql, (prefix, prefix + "\U0010ffff"))

    def prune(self, before: float) -> None:
        """Forget the effects that ended before that time."""
        sql = "DELETE FROM effects WHERE ended < ? AND outcome IS NOT NULL"
        with self._lock:
            self._database.execute(sql, (before,))

    def open_effects(self) -> dict[str, str]:
        """Keys of the scripts that had begun and not ended when the last agent did.

        Each with its marker, or nothing.
        """
        sql = "SELECT key, ifnull(marker, '') FROM effects LEFT JOIN markers USING (key) "
        with self._lock:
            rows = self._database.execute(sql + "WHERE outcome IS NULL").fetchall()
        return {str(key): str(marker) for key, marker in rows}

    def interrupt(self, key: str, outcome: bytes, ended: float) -> None:
        """Such a script has come to an end."""
        sql = "UPDATE effects SET outcome = ?, ended = ? WHERE key = ?"
        with self._lock:
            self._database.execute(sql, (outcome, ended, key))

    # Processes of scripts

    def mark(self, key: str, marker: str) -> None:
        """Every script of that effect will have ``marker`` (``NAME=value``) in its environment."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO markers VALUES(?,?)", (key, marker))

    def markers(self) -> list[str]:
        """The markers of the effects whose scripts are not known to have ended."""
        with self._lock:
            return [marker for (marker,) in self._database.execute("SELECT marker FROM markers")]

    def script_started(self, key: str, pid: int, started: int) -> None:
        """A script of that effect runs in the process that started then."""
        sql = "INSERT OR REPLACE INTO scripts(pid, started, key) VALUES(?,?,?)"
        with self._lock:
            self._database.execute(sql, (pid, started, key))

    def starter(self, pid: int, started: int) -> None:
        """The process that started then starts scripts, of one effect after another.

        The one before it has ended, or will by itself.
        """
        with self._lock:
            if self._starter == (pid, started):
                return
            with self._database:
                self._database.execute("DELETE FROM scripts WHERE key LIKE ?", (f"{_STARTER}%",))
                self.script_started(_STARTER + machine.boot_id(), pid, started)
            self._starter = pid, started

    def scripts_ended(self, key: str) -> None:
        """No script of that effect runs any more."""
        with self._lock:
            self._database.execute("DELETE FROM scripts WHERE key = ?", (key,))
            self._database.execute("DELETE FROM markers WHERE key = ?", (key,))

    def scripts(self) -> list[tuple[int, int]]:
        """(pid, start) of every script that is not known to have ended, and of who starts them."""
        sql = "SELECT pid, started FROM scripts WHERE key NOT LIKE ? OR key = ?"
        keys = f"{_STARTER}%", _STARTER + machine.boot_id()
        with self._lock:
            found: list[tuple[int, int]] = list(self._database.execute(sql, keys))
        return found

    def forget_scripts(self) -> None:
        """All processes that an earlier agent had started are known to have ended."""
        with self._lock:
            self._starter = 0, 0
            self._database.execute("DELETE FROM scripts")
            self._database.execute("DELETE FROM markers")

    # The epoch

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        with self._lock:
            found = self._database.execute("SELECT value FROM facts WHERE name='epoch'").fetchone()
        return int(found[0]) if found else 0

    @property
    def highest_job(self) -> int:
        """The highest number of a job that an order came from."""
        sql = "SELECT value FROM facts WHERE name='job'"
        with self._lock:
            found = self._database.execute(sql).fetchone()
        return int(found[0]) if found else 0

    def set_highest_job(self, job: int) -> None:
        """Survives kill -9, as effects do."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO facts VALUES('job', ?)", (job,))

    @property
    def master(self) -> Uuid | None:
        """The node whose master had that epoch; None where it is not known."""
        sql = "SELECT value FROM facts WHERE name='master'"
        with self._lock:
            found = self._database.execute(sql).fetchone()
        return Uuid(found[0]) if found and found[0] else None

    def set_epoch(self, epoch: int, master: Uuid | None) -> None:
        """Durable when it returns, also against a power cut."""
        facts = (("epoch", epoch), ("master", master))
        with self._lock:
            self._database.execute("PRAGMA synchronous=FULL")
            try:
                with self._database:
                    for fact in facts:
                        self._database.execute("INSERT OR REPLACE INTO facts VALUES(?, ?)", fact)
            finally:
                self._database.execute("PRAGMA synchronous=OFF")


def damage(path: Path) -> tuple[str, ...]:
    """What was set aside because it was damaged, for as long as the operator lets it lie there."""
    return tuple(
        f"its agent's memory was damaged and is set aside as {one}: it had forgotten which orders"
        " it had carried out and which masters it had seen; remove the file to silence this"
        for one in sorted(str(found) for found in path.parent.glob(f"{path.name}{_ASIDE}*"))
    )


def _open(path: Path) -> apsw.Connection:
    database = apsw.Connection(str(path))
    database.set_busy_timeout(1000)
    # One agent a root: a second one is kept out, and no shared memory is needed.
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=OFF")
    database.execute(_SCHEMA)
    [(found,)] = database.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        database.close()
        raise apsw.CorruptError(str(found))
    return database
