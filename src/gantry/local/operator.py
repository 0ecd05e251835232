"""What an operator would type on a node: the real programs, run with the node's root."""

from __future__ import annotations

import os

import msgspec

from gantry.host import command
from gantry.host.command import Completed
from gantry.local.description import LocalNode
from gantry.local.layout import Layout
from gantry.local.processes import environment
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason


class Operator:
    """Types on one node."""

    def __init__(self, layout: Layout, node: LocalNode) -> None:
        self._layout = layout
        self._node = node
        self.environment = environment(layout.root(node), os.environ)

    async def run(
        self,
        program: str,
        *arguments: str,
        stdin: bytes = b"",
        timeout: float = timeouts.FAST,
        check: bool = True,
    ) -> Completed:
        """Run a program; OperationFailed with what it said where it fails and ``check`` is set."""
        completed = await command.run(
            [str(self._layout.program(self._node, program)), *arguments],
            timeout=timeout,
            env=self.environment,
            cwd="/",
            stdin=stdin,
            check=False,
        )
        if check and completed.status != 0:
            said = (completed.stderr or completed.stdout).decode(errors="replace").strip()
            raise OperationFailed(
                f"on {self._node.label}, {program} {' '.join(arguments)} failed: "
                + (said or f"exit status {completed.status}"),
                f"its log is below {self._layout.root(self._node)}/var/log/gantry",
                reason=Reason.ENVIRONMENT,
            )
        return completed

    async def rows(self, program: str, *arguments: str) -> list[dict[str, object]]:
        """What a listing says with ``--json``: one mapping of fields a row."""
        completed = await self.run(program, *arguments, "--json")
        try:
            return msgspec.json.decode(completed.stdout, type=list[dict[str, object]])
        except msgspec.MsgspecError as error:
            raise OperationFailed(
                f"{program} {' '.join(arguments)} --json gave no list of objects: {error}",
                "this is a fault of Gantry: please report it",
            ) from error
