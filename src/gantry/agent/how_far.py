"""How far a transfer is, for the job's log: bytes, rate, remaining time."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final

from gantry.model import timeouts

_PERCENT: Final = re.compile(rb"\((\d+\.\d+)/100%\)")
_TAIL: Final = 200
_MIB: Final = 1024 * 1024


class HowFar:
    """A context in which a line is said every few seconds; ``so_far`` and ``size`` are bytes.

    Either may be None while nobody knows it.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        so_far: Callable[[], int | None],
        size: Callable[[], int | None],
    ) -> None:
        self._say = say
        self._so_far = so_far
        self._size = size

    async def __aenter__(self) -> HowFar:
        self._began = time.monotonic()
        self._task = asyncio.create_task(self._report())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(timeouts.TRANSFER_REPORT)
            done = self._so_far()
            if done is not None:
                self._say(line(done, self._size(), time.monotonic() - self._began))


def line(done: int, size: int | None, seconds: float) -> str:
    """Such as ``512 of 2048 MiB (25 %), 51.2 MiB/s, 30 s left``; bytes and seconds come in."""
    rate = done / seconds if seconds > 0 else 0.0
    speed = f"{rate / _MIB:.1f} MiB/s"
    if not size:
        return f"{done // _MIB} MiB, {speed}"
    share = min(100, done * 100 // size)
    text = f"{done // _MIB} of {size // _MIB} MiB ({share} %), {speed}"
    left = max(0, size - done)
    return f"{text}, {left / rate:.0f} s left" if rate else text


def percent(said: Path, size: int) -> int | None:
    """What qemu-img's last word on its progress means, in bytes."""
    try:
        with said.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            found = _PERCENT.findall(file.read())
    except OSError:
        return None
    return int(float(found[-1]) * size / 100) if found else None
