"""Programs of an order that are no scripts, but may take as long as one.

Should the agent die meanwhile, the next one ends them before it accepts the order again: they
would go on writing what that one writes anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gantry.agent import markers
from gantry.agent.effect import Task
from gantry.host import command
from gantry.host.daemon import Identity
from gantry.host.limits import Limits
from gantry.model.image_orders import ImageWrite
from gantry.model.orders import OsInstall


class Programs:
    """Runs the programs of one order."""

    def __init__(self, order: ImageWrite | OsInstall, task: Task) -> None:
        name, _, value = markers.of(order).partition("=")
        self._environment = {**command.ENVIRONMENT, name: value}
        self._task = task

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes = b"",
        limits: Limits | None = None,
        passed: Mapping[int, int] | None = None,
        check: bool = True,
    ) -> command.Completed:
        """As ``command.run`` does."""

        def started(which: Identity) -> None:
            if limits is not None:
                limits.impose(which)
            self._task.started(which)

        return await command.run(
            argv,
            timeout=timeout,
            env=self._environment,
            stdin=stdin,
            check=check,
            passed=passed,
            on_started=started,
        )
