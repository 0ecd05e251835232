"""Waiting for scripts of which most end at once, with one timer for all of them.

To have a pidfd of each and to poll it with a time limit costs a thirtieth of a small script's
time. So the thread of a sequence waits without a limit, and a timer looks every 20 ms, as long as
there are sequences, which script is older than that. Such a one is given to a thread of its own,
which then does for it what ``process.attend`` does for any program.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Final, Self

from gantry.host import process
from gantry.host.process import Ended, Later, Program, Stop

AFTER: Final = 0.02
"""Seconds after which a script is watched."""


class _Running:
    """A script that is waited for."""

    __slots__ = ("began", "ended", "error", "later", "pid", "timeout")

    def __init__(self, pid: int, began: float, timeout: float, later: Sequence[Later]) -> None:
        self.pid = pid
        self.began = began
        self.timeout = timeout
        self.later = later
        self.ended = True
        """Whether by itself."""
        self.error: BaseException | None = None
        """What went wrong in work that was to be done meanwhile."""


class ShortWaits:
    """A context, of one thread that runs scripts one after the other. ``stop`` ends any of them."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        """Held by who watches a script, as long as it does; needed to reap one. While somebody
        looks after a process, its number is that of no other one."""
        self._running: _Running | None = None
        self._over = False
        self._timer: _Timer | None = None
        """It knows of us from the first script on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            with self._lock:
                self._over = True
                self._timer.remove(self)

    def finish(self, pid: int, began: float, timeout: float, later: Sequence[Later]) -> Ended:
        """Wait for a program's end as ``process.finish`` does; ``began`` in monotonic seconds.

        Of ``later`` the first is work to be done at once, and by this thread. The other work, for
        after ``AFTER``, is done in another thread, while this one waits.
        """
        (_, work), *rest = later
        if self._timer is None:
            timer = _timer()
            try:
                timer.add(self)
            except RuntimeError:  # too many threads: we watch it ourselves
                program = process.watched(pid, began)
                return process.finish(program, timeout=timeout, stop=self._stop, later=later)
            self._timer = timer
        try:
            work()
        except BaseException:
            self._stop_at_once(pid, began)
            raise
        if self._stop.wanted:
            program = process.watched(pid, began)
            return process.finish(program, timeout=timeout, stop=self._stop, later=rest)
        self._running = running = _Running(pid, began, timeout, rest)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._running = None
        _, status, usage = os.wait4(pid, 0)
        if running.error is not None:
            raise running.error
        stopped = not running.ended and self._stop.wanted
        return process.how(began, status, usage, ended=running.ended, stopped=stopped)

    @staticmethod
    def _stop_at_once(pid: int, began: float) -> None:
        with contextlib.suppress(OSError):
            process.finish(process.watched(pid, began), timeout=0.0)

    def due(self, now: float) -> float | None:
        """When to look again; None where a thread looks after the script from now on."""
        running = self._running
        if running is None:
            return now + AFTER
        if now < running.began + AFTER:
            return running.began + AFTER
        name, run = f"script {running.pid}", self._context.run
        try:
            threading.Thread(None, run, name, (self._watch, running), daemon=True).start()
        except RuntimeError:
            return now + AFTER  # too many threads
        return None

    def _watch(self, running: _Running) -> None:
        """Until it has ended; then the timer looks after the next one."""
        with self._lock:
            if self._running is running:
                self._attend(running)
            if not self._over and self._timer is not None:
                self._timer.add(self)

    def _attend(self, running: _Running) -> None:
        try:
            pidfd = os.pidfd_open(running.pid)
        except OSError:
            return  # too many open files: the timer tries again
        try:
            program = Program(running.pid, pidfd, running.began)
            running.ended = process.attend(
                program, timeout=running.timeout, stop=self._stop, later=running.later
            )
        except BaseException as error:  # it is the other thread's
            running.ended, running.error = False, error
        finally:
            # Whoever looked once more, before the other thread has the lock, would find that it
            # ended by itself.
            self._running = None
            os.close(pidfd)


class _Timer:
    """A thread that sleeps while nobody runs scripts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._all: set[ShortWaits] = set()
        self._thread: threading.Thread | None = None
        self._idle = False

    def add(self, one: ShortWaits) -> None:
        """Look after its scripts."""
        with self._changed:
            self._all.add(one)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="scripts", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self._all.discard(one)
                    raise
                self._thread = thread
            elif self._idle:
                self._changed.notify()

    def remove(self, one: ShortWaits) -> None:
        """It has no more."""
        with self._changed:
            self._all.discard(one)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._all:
                    self._idle = True
                    self._changed.wait()
                self._idle = False
                now = time.monotonic()
                next_time = now + AFTER
                for one in tuple(self._all):
                    due = one.due(now)
                    if due is None:
                        self._all.discard(one)
                    else:
                        next_time = min(next_time, due)
            # Not shorter: whoever comes meanwhile has a script that is younger.
            time.sleep(max(0.0, next_time - time.monotonic()))


@cache
def _timer() -> _Timer:
    """That of this process."""
    return _Timer()


# A copy of this process has no such thread.
os.register_at_fork(after_in_child=_timer.cache_clear)
