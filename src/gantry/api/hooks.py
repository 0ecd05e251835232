"""``/gantry/1/hooks``: the scripts on the nodes, and what would run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.hooks import catalogue
from gantry.hooks.catalogue import Reading
from gantry.hooks.entry import Phase
from gantry.model.entities import Node
from gantry.model.errors import GantryError
from gantry.model.hook_orders import HookSequence, ListedHooks, ListedScript, ReadHooks
from gantry.model.snapshot import Snapshot
from gantry.ports.queue import Queue

_LIST: Final = (
    ("operation", "Operation", "text"),
    ("phase", "Phase", "text"),
    ("node", "Node", "text"),
    ("order", "Order", "number"),
    ("script", "Script", "text"),
    ("version", "Version", "number"),
    ("timeout", "Seconds", "number"),
    ("run_as", "RunAs", "text"),
    ("unreachable", "Unreachable", "text"),
    ("skipped", "Skipped", "text"),
    ("nodes", "RunsOn", "text"),
)


class Hooks:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [web.get("/gantry/1/hooks", self.listing)]

    async def listing(self, request: web.Request) -> web.StreamResponse:
        """``{"fields": […], "rows": […], "problems": […]}``: every script of every phase.

        ``?operation=`` and ``?node=`` choose; ``problems`` has the nodes that did not answer.
        """
        exchange.arguments(request, "operation", "node")
        cluster = self._queue.snapshot()
        nodes = _chosen(cluster, request.query.get("node", ""))
        readings = catalogue.readings(
            cluster.cluster.hooks_version, request.query.get("operation", "")
        )
        question = ReadHooks(
            sequences=tuple(
                HookSequence(
                    directories=one.directories,
                    main_version=cluster.cluster.hooks_version,
                    about=catalogue.of_any_object(one),
                )
                for one in readings
            )
        )
        answers = await self._services.ask_nodes([one.uuid for one in nodes], question)
        rows = [
            row
            for place, reading in enumerate(readings)
            for row in _rows(cluster, reading, place, nodes, answers)
        ]
        return exchange.answer(
            {"fields": _fields(_LIST), "rows": rows, "problems": _problems(answers)}
        )


def _chosen(cluster: Snapshot, name: str) -> Sequence[Node]:
    """One node, or all that are not offline."""
    if name:
        return [cluster.node(name)]
    online = [node for node in cluster.nodes.values() if not node.offline]
    return sorted(online, key=lambda node: node.name)


def _rows(
    cluster: Snapshot,
    reading: Reading,
    place: int,
    nodes: Sequence[Node],
    answers: Mapping[str, ListedHooks | GantryError],
) -> Iterator[list[Any]]:
    may_deny = reading.phase is Phase.PRE
    for node in nodes:
        answer = answers.get(node.name)
        if isinstance(answer, ListedHooks):
            order = 0
            for script in answer.sequences[place]:
                where = reading.where.get(script.directory)
                skip = _skip(script, node, reading, cluster)
                order += not skip
                yield [
                    reading.operation,
                    reading.phase.value,
                    node.name,
                    None if skip else order,
                    f"{script.directory}/{script.script}".removeprefix("./"),
                    script.version,
                    None if skip else script.timeout,
                    script.run_as,
                    "denies" if may_deny and script.deny_unreachable else "ignored",
                    skip,
                    where.value if where is not None else "",
                ]


def _skip(script: ListedScript, node: Node, reading: Reading, cluster: Snapshot) -> str:
    if script.skip or script.problem:
        # What has happened cannot be denied any more.
        means = "DENIES" if reading.phase is Phase.PRE else "FAILS"
        return script.skip or f"{means}: {script.problem}"
    master = node.uuid == cluster.cluster.master_node
    if not catalogue.reaches(reading.where[script.directory], master=master):
        return "this directory is read on the master only"
    return ""


def _problems(answers: Mapping[str, object]) -> list[dict[str, str]]:
    return [
        {"node": name, "problem": answer.message}
        for name, answer in answers.items()
        if isinstance(answer, GantryError)
    ]


def _fields(columns: Sequence[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "title": title, "kind": kind} for name, title, kind in columns]
