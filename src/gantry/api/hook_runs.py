"""``/gantry/1/hooks/runs``: what hook scripts did, and one run with its output."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from gantry.api import exchange
from gantry.api.services import Services
from gantry.hooks import catalogue
from gantry.hooks.record import ending
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.hook_orders import ScriptStatus
from gantry.model.hook_runs import HookRun, HookRunChoice, HookRunRecord, Origin, ReadHookRun
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address
from gantry.ports.queue import Queue

MOST: Final = 10_000
"""Rows in one answer."""
_FIELDS: Final = (
    ("run", "Run", "text"),
    ("started", "Started", "timestamp"),
    ("object", "Object", "text"),
    ("operation", "Operation", "text"),
    ("phase", "Phase", "text"),
    ("node", "Node", "text"),
    ("script", "Script", "text"),
    ("result", "Result", "text"),
    ("duration", "Seconds", "float"),
    ("cause", "Job", "text"),
    ("job", "JobId", "number"),
    ("failed", "Failed", "text"),
    ("origin", "Origin", "text"),
    ("attempt", "Attempt", "number"),
    ("dry_run", "DryRun", "text"),
    ("version", "Version", "number"),
    ("digest", "Digest", "text"),
)
_ID: Final = frozenset("0123456789abcdef")


class Missed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST hooks/runs/missed``."""

    node: str


_missed = msgspec.json.Decoder(Missed)


class HookRunResources:
    """The handlers."""

    def __init__(self, queue: Queue, services: Services) -> None:
        self._queue = queue
        self._services = services

    def routes(self) -> list[web.RouteDef]:
        """Below ``/gantry/1``."""
        return [
            web.get("/gantry/1/hooks/runs", self.runs),
            web.post("/gantry/1/hooks/runs/missed", self.missed),
            web.get("/gantry/1/hooks/runs/{run}", self.run),
        ]

    async def runs(self, request: web.Request) -> web.StreamResponse:
        """``{"fields": […], "rows": […], "problems": []}``, newest first.

        Arguments are the fields of ``HookRunChoice``.
        """
        choice = self._choice(request)
        found = await self._services.hook_runs.find(choice)
        rows = []
        for one in found:
            shown = document(one)
            rows.append([shown[name] for name, _, _ in _FIELDS])
        fields = [{"name": name, "title": title, "kind": kind} for name, title, kind in _FIELDS]
        return exchange.answer({"fields": fields, "rows": rows, "problems": []})

    async def run(self, request: web.Request) -> web.StreamResponse:
        """``{"run": {…}, "stdout", "stderr", "order", "problem"}``.

        What the node keeps is null where it does not answer, and ``problem`` says why. Without
        ``?order=1`` what the script was told is left out.
        """
        exchange.arguments(request, "order")
        wanted = exchange.flag(request, "order")
        text = request.match_info["run"]
        if not 4 <= len(text) <= 32 or not _ID.issuperset(text):
            raise Rejected(
                f"{text!r} is not the id of a run", "gnt-hook history shows them: 4 digits will do"
            )
        known = await self._services.hook_runs.get(text)
        record, problem = await self._record(text, known)
        found = record.run if record is not None else known
        if found is None:
            raise Rejected(
                f"no run of a hook begins with {text}, or several do",
                "gnt-hook history shows those that are known",
                reason=Reason.UNKNOWN,
                object_name=text,
            )
        answer: dict[str, Any] = {
            "run": document(found),
            "stdout": record.stdout if record is not None else None,
            "stderr": record.stderr if record is not None else None,
            "problem": problem,
        }
        if wanted:
            answer["order"] = record.order if record is not None else None
        return exchange.answer(answer)

    async def missed(self, request: web.Request) -> web.StreamResponse:
        """``{}``; of node ``{"node": NAME}`` runs are fetched that nobody told of."""
        wanted = await exchange.body(request, _missed)
        node = self._queue.snapshot().node(wanted.node)
        to = Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)
        self._services.hook_runs.missed(to)
        return exchange.answer({})

    async def _record(self, text: str, known: HookRun | None) -> tuple[HookRunRecord | None, str]:
        """What the node keeps; where the index does not know the run, every node is asked."""
        cluster = self._queue.snapshot()
        nodes = [
            node.uuid for node in cluster.nodes.values() if known is None or node.name == known.node
        ]
        question = ReadHookRun(id=known.id if known is not None else text)
        answers = await self._services.ask_nodes(nodes, question)
        problem = "the node is not of the cluster any more" if not answers else ""
        for answer in answers.values():
            if isinstance(answer, GantryError):
                problem = answer.message
            else:
                return answer, ""
        return None, problem

    def _choice(self, request: web.Request) -> HookRunChoice:
        names = HookRunChoice.__struct_fields__
        operation = request.query.get("operation", "")
        if operation:
            # An operation has several names and, in each version, a directory of its own.
            operation = catalogue.known(operation)
        exchange.arguments(request, *names)
        given: dict[str, Any] = {
            name: request.query[name] for name in names if name in request.query
        }
        if "failed" in given:
            given["failed"] = exchange.flag(request, "failed")
        try:
            choice = msgspec.convert(given, HookRunChoice, strict=False)
        except msgspec.ValidationError as error:
            raise Rejected(f"the choice of runs does not fit: {error}") from None
        if not 0 < choice.limit <= MOST:
            raise Rejected(f"the limit is a number from 1 to {MOST}")
        if choice.phase:
            catalogue.phase_of(choice.phase)
        choice = msgspec.structs.replace(choice, operation=operation)
        return _with_names(choice, self._queue.snapshot())


def document(run: HookRun) -> dict[str, Any]:
    """A run as everybody sees it."""
    result = run.result
    return {
        "run": run.id,
        "started": result.started,
        "object": run.object,
        "kind": run.kind,
        "operation": run.operation,
        "opcode": run.opcode,
        "phase": run.phase,
        "node": run.node,
        "script": f"{result.directory}/{result.script}",
        "result": ending(result),
        "failed": result.status is ScriptStatus.FAILED,
        "exit_status": result.exit_status,
        "signal": result.signal,
        "problem": result.problem,
        "duration": round(result.duration, 3),
        "user_time": result.user_time,
        "system_time": result.system_time,
        "timeout": result.timeout,
        "run_as": result.run_as,
        "version": result.version,
        "digest": result.digest,
        "message": result.message,
        "warnings": result.warnings,
        "stdout_size": result.stdout.size,
        "stdout_cut": result.stdout.cut,
        "stderr_size": result.stderr.size,
        "stderr_cut": result.stderr.cut,
        "cause": str(run.job) if run.job and run.origin is Origin.JOB else run.origin.value,
        "origin": run.origin.value,
        "job": run.job or None,
        "run_id": run.run_id,
        "attempt": run.attempt,
        "dry_run": run.dry_run,
    }


def _with_names(choice: HookRunChoice, cluster: Snapshot) -> HookRunChoice:
    """Short names of what there is are made whole; of what is gone, the index knows the names."""
    changes: dict[str, str] = {}
    try:
        changes["instance"] = cluster.instance(choice.instance).name if choice.instance else ""
    except Rejected:
        changes["instance"] = choice.instance
    try:
        changes["node"] = cluster.node(choice.node).name if choice.node else ""
    except Rejected:
        changes["node"] = choice.node
    return msgspec.structs.replace(choice, **changes)
