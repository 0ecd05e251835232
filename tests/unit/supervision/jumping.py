"""An event loop on which waiting costs nothing: where nothing is ready, time jumps on."""

from __future__ import annotations

import asyncio
import functools
import itertools
import selectors
import uuid
from collections.abc import Callable, Coroutine

from gantry.model.names import Uuid

Test = Callable[..., Coroutine[None, None, None]]


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("nothing will ever happen again")
        if not ready and timeout is not None:
            self.jumped += max(timeout, 0.0)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its time is nobody else's."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        """Seconds waited so far, and no others."""
        return self._own.jumped


class LoopClock:
    """``ports.clock.Clock`` by the loop's time."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def now(self) -> float:
        """The loop's time, as if it began in 2027."""
        return 1_800_000_000.0 + self.monotonic()

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def uuid(self) -> Uuid:
        """One after the other."""
        return Uuid(str(uuid.UUID(int=next(self._numbers))))

    def random_bytes(self, count: int) -> bytes:
        """One after the other."""
        return next(self._numbers).to_bytes(count, "big")

    async def sleep(self, seconds: float) -> None:
        """Let the loop jump."""
        await asyncio.sleep(seconds)


def jumping(test: Test) -> Callable[..., None]:
    """Run a test on such a loop."""

    @functools.wraps(test)
    def run(**fixtures: object) -> None:
        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            runner.run(test(**fixtures))

    return run
