"""Nodes with hooks directories of their own, which answer as agents do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.cluster import node_uuid
from tests.fakes.services import FakeServices

from gantry.agent import hook_files
from gantry.agent.hooks import DIRECTORY
from gantry.agent.ledger import Ledger
from gantry.host import inventory
from gantry.model.errors import Unavailable
from gantry.model.hook_files import ReadHookFiles
from gantry.model.hook_orders import ReadHooks
from gantry.model.hook_runs import ReadHookRun

ANSWERS: dict[type[Any], Callable[[Path, Any], Any]] = {
    ReadHooks: hook_files.listed_below,
    ReadHookFiles: lambda root, question: inventory.read(root / DIRECTORY, question.main_version),
    ReadHookRun: lambda root, question: Ledger(root, root.name).record(question.id),
}


class HookNodes:
    """Three nodes below ``directory``; those in ``away`` do not answer."""

    def __init__(self, directory: Path, services: FakeServices) -> None:
        self.roots = {f"node{number}": directory / f"node{number}" for number in (1, 2, 3)}
        self.away: set[str] = set()
        for number, name in enumerate(self.roots, 1):
            self._serve(services, number, name)

    def script(self, node: str, path: str, text: str = "#!/bin/sh\n", mode: int = 0o755) -> Path:
        """A script ``directory/name`` on a node."""
        found = self.roots[node] / DIRECTORY / path
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(text)
        found.chmod(mode)
        return found

    def base(self, node: str) -> Path:
        """The directory of hooks of a node."""
        found = self.roots[node] / DIRECTORY
        found.mkdir(parents=True, exist_ok=True)
        return found

    def _serve(self, services: FakeServices, number: int, name: str) -> None:
        async def answer(question: Any) -> Any:
            if name in self.away:
                raise Unavailable(f"node {name}.example.com does not answer")
            return ANSWERS[type(question)](self.roots[name], question)

        services.agents[node_uuid(number)] = (f"{name}.example.com", answer)
