"""``/gantry/1/hooks/lint``: what is wrong with the scripts of the nodes, and between them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.hooks import lint
from gantry.model.errors import GantryError
from gantry.model.hook_files import HookInventory, ReadHookFiles
from gantry.ports.queue import Queue


class HookLint:
    """The handler."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.get("/gantry/1/hooks/lint", self.lint)]

    async def lint(self, request: web.Request) -> web.StreamResponse:
        """``{"findings": [{level, node, path, message, hint}], "nodes": […], "problems": […]}``.

        All nodes that are not offline are looked at now, or with ``?node=`` one; those that do
        not answer are in ``problems``. What differs between nodes is said of no node.
        """
        exchange.arguments(request, "node")
        cluster = self._queue.snapshot()
        name = request.query.get("node", "")
        online = [one for one in cluster.nodes.values() if not one.offline]
        nodes = [cluster.node(name)] if name else online
        version = cluster.cluster.hooks_version
        question = ReadHookFiles(main_version=version)
        answers = await self._services.ask_nodes([one.uuid for one in nodes], question)
        found: dict[str, HookInventory] = {}
        problems = []
        for node, answer in sorted(answers.items()):
            if isinstance(answer, GantryError):
                problems.append({"node": node, "problem": answer.message})
            else:
                found[node] = answer
        findings = [
            msgspec.structs.replace(one, node=node)
            for node, inventory in found.items()
            for one in lint.check(inventory, version)
        ]
        findings += lint.drift(found, version)
        return exchange.answer({"findings": findings, "nodes": sorted(found), "problems": problems})
