"""Orders to switch scripts off and on again on this node."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gantry.agent.effect import Task
from gantry.agent.hooks import DIRECTORY
from gantry.agent.parts import Parts
from gantry.host import hook_switches
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.hook_switch import SCRIPT, HookSwitch, Switched
from gantry.model.orders import Nothing


async def switch(parts: Parts, order: HookSwitch, task: Task) -> Nothing:
    """Take it down in the directory of hooks, whether the scripts are there or not."""
    wrong = [one for one in order.scripts if not SCRIPT.fullmatch(one)]
    if wrong:
        raise Rejected(f"{wrong[0]!r} is no script of a directory of hooks", node=parts.node)
    try:
        await asyncio.to_thread(switch_below, parts.root, order, task.envelope.job)
    except OSError as error:
        raise OperationFailed(
            f"scripts cannot be switched on node {parts.node}: {error.strerror}",
            "make room, or mend the rights of its directory of hooks",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
        ) from error
    return Nothing()


def switch_below(root: Path, order: HookSwitch, job: int = 0) -> None:
    """The same, on the node with that root; OSError."""
    words = [
        Switched(
            script=script,
            enabled=order.enabled,
            since=order.since,
            by=order.by,
            reason=order.reason,
            job=job,
        )
        for script in order.scripts
    ]
    hook_switches.write(root / DIRECTORY, words)
