"""Which orders agents have begun, as their logs say it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LOOK = 0.002


class Log:
    """What the agent of a machine writes from now on."""

    def __init__(self, root: Path) -> None:
        self._path = root / "var/log/gantry/agent.log"
        self._from = self._path.stat().st_size

    def begins(self, order: str, patience: float) -> None:
        """Until an effect of that name has begun."""
        deadline = time.monotonic() + patience
        while not any(f"/{order}" in line for line in self.begun()):
            assert time.monotonic() < deadline, f"{order} has not begun"
            time.sleep(LOOK)  # a log tells nobody

    def begun(self) -> list[str]:
        """The lines about effects that have begun."""
        with self._path.open("rb") as file:
            file.seek(self._from)
            lines = file.read().decode(errors="replace").splitlines()
        return [line for line in lines if "begun effect=" in line]


def so_many(logs: list[Log], number: int, over: Callable[[], bool]) -> list[str]:
    """Wait until so many effects have begun in these together, or it is over; which have."""
    while True:
        ended = over()
        found = [line for one in logs for line in one.begun()]
        if ended or len(found) >= number:
            return found
        time.sleep(LOOK)  # a log tells nobody
