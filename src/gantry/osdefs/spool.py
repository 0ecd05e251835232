"""What a script writes, kept within bounds: its beginning as it comes, and of the rest the end.

A script that prints without end must fill neither the node's disk nor our memory, and must not
be held up either. It writes to a pipe, which a thread reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
from collections import deque
from types import TracebackType
from typing import Final

_CHUNK: Final = 1 << 18
_DRAIN: Final = 64
"""Reads of what is still in the pipe when the script has ended; who writes on is not heard."""


class Spool:
    """A context whose ``descriptor`` a script writes to; what is kept goes to the file ``target``.

    ``first`` bytes are written there at once, and when it is left the last ``last`` bytes of
    what came after, with a line that says how much is missing between. ``problem`` is why the
    file could not be written, if so.
    """

    def __init__(self, target: int, first: int, last: int) -> None:
        self._target = target
        self._room = first
        self._last = last
        self._tail: deque[bytes] = deque()
        self._kept = 0
        self.left_out = 0
        self.problem = ""

    def __enter__(self) -> Spool:
        self._source, self.descriptor = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # the user's share of pipes may be used up
            fcntl.fcntl(self._source, fcntl.F_SETPIPE_SZ, _CHUNK)
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._pump, name="os-script-output", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)
        os.eventfd_write(self._end, 1)
        self._thread.join()
        os.close(self._end)
        os.close(self._source)
        tail = b"".join(self._tail)
        self.left_out += max(0, len(tail) - self._last)
        if self.left_out:
            self._write(f"\n({self.left_out} bytes left out)\n".encode())
        self._write(tail[-self._last :])

    def _pump(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._end in ready:
                break
            if not self._read():
                return
        # A process that was left behind may still have the pipe open.
        os.set_blocking(self._source, False)
        for _ in range(_DRAIN):
            try:
                if not self._read():
                    return
            except BlockingIOError:
                return

    def _read(self) -> bool:
        data = os.read(self._source, _CHUNK)
        if self._room:
            now, data = data[: self._room], data[self._room :]
            self._room -= len(now)
            self._write(now)
            if not data:
                return bool(now)
        if not data:
            return False
        self._tail.append(data)
        self._kept += len(data)
        while self._kept - len(self._tail[0]) >= self._last:
            gone = self._tail.popleft()
            self._kept -= len(gone)
            self.left_out += len(gone)
        return True

    def _write(self, data: bytes) -> None:
        try:
            while data and not self.problem:
                data = data[os.write(self._target, data) :]
        except OSError as error:
            self.problem = error.strerror or str(error)
