"""``os`` and ``os/NAME/difference``: OS definitions over all nodes, which are asked now."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.redaction import REDACTED
from gantry.api.services import Services
from gantry.model import oses
from gantry.model.entities import Cluster
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.os_texts import MAX_FILES, OsTexts, ReadOsTexts, difference
from gantry.model.oses import ClusterOs, named
from gantry.ports.queue import Queue


class OsDefinitions:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/os", self.all),
            web.get("/gantry/1/os/{name}/difference", self.difference),
        ]

    async def all(self, request: web.Request) -> web.StreamResponse:
        """A list of all definitions."""
        cluster = self._queue.snapshot().cluster
        return exchange.answer([_document(cluster, one) for one in await self._found()])

    async def difference(self, request: web.Request) -> web.StreamResponse:
        """``{"usual": NODE, "nodes": {NODE: [line, …]}}``: what other nodes have, as diffs."""
        name = request.match_info["name"]
        found = [one for one in await self._found() if one.name == name]
        if not found:
            raise Rejected(
                f"no node has an OS definition {name!r}",
                "gnt-os diagnose shows which node has what",
                reason=Reason.UNKNOWN,
                object_name=name,
            )
        return exchange.answer(await self._difference(found[0]))

    async def _found(self) -> tuple[ClusterOs, ...]:
        answers = await self._services.diagnose_oses()
        return oses.combine({node: answer.oses for node, answer in answers.items()})

    async def _difference(self, one: ClusterOs) -> dict[str, Any]:
        if not one.differing:
            return {"usual": "", "nodes": {}}
        same = [node for node, facts in one.node_status.items() if facts]
        usual = next(node for node in same if node not in one.differing)
        paths = sorted({path for files in one.differing.values() for path in files})
        texts = await self._texts(one.name, [usual, *one.differing], tuple(paths[:MAX_FILES]))
        return {
            "usual": usual,
            "nodes": {
                node: _lines(texts[usual], texts[node], (usual, node)) for node in one.differing
            },
        }

    async def _texts(
        self, name: str, nodes: list[str], paths: tuple[str, ...]
    ) -> dict[str, OsTexts | GantryError]:
        """What those nodes have; by the node's name."""
        snapshot = self._queue.snapshot()
        asked: list[Uuid] = [snapshot.node(node).uuid for node in nodes]
        return await self._services.ask_nodes(asked, ReadOsTexts(name=name, paths=paths))


def _lines(
    usual: OsTexts | GantryError, other: OsTexts | GantryError, names: tuple[str, str]
) -> list[str]:
    for one in (usual, other):
        if isinstance(one, GantryError):
            return [f"cannot be compared: {one.message}"]
    assert isinstance(usual, OsTexts)
    assert isinstance(other, OsTexts)
    return difference(usual, other, names)


def _document(cluster: Cluster, one: ClusterOs) -> dict[str, Any]:
    def own(table: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in table.items() if name.partition("+")[0] == one.name}

    kept_back = (*cluster.hidden_os, *cluster.blacklisted_os)
    return {
        **msgspec.structs.asdict(one),
        "full_names": one.full_names,
        "listed_names": [full for full in one.full_names if not named(kept_back, full)]
        if one.valid
        else [],
        "hidden": named(cluster.hidden_os, one.name),
        "blacklisted": named(cluster.blacklisted_os, one.name),
        "os_hvp": own(cluster.os_hvp),
        "osparams": own(cluster.osparams),
        "osparams_private": {
            full: dict.fromkeys(values, REDACTED)
            for full, values in own(cluster.osparams_private).items()
        },
        "node_status": {
            node: [
                {
                    "path": facts.path,
                    "valid": facts.valid,
                    "problem": facts.problem,
                    "variants": facts.variants,
                    "parameters": [name for name, _ in facts.parameters],
                    "api_versions": facts.api_versions,
                }
                for facts in entries
            ]
            for node, entries in one.node_status.items()
        },
    }
