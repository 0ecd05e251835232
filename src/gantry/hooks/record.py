"""What is recorded of a script's run, made of the order that it was run by and of its result.

The agent that ran it and the master that was told make the same record of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final

import msgspec

from gantry.model.hook_orders import HooksRun, ScriptResult, ScriptStatus
from gantry.model.hook_runs import HookRun, Origin

_DIRECTORY: Final = re.compile(r"(?P<operation>.+)-(?P<phase>[a-z]+)\.d")
INTERRUPTED: Final = "the agent was ended while it ran, and so it was"
CANCELLED: Final = "was ended because the job was cancelled"
_PROBLEMS: Final = {INTERRUPTED: "interrupted", CANCELLED: "cancelled"}
_OBJECTS: Final = {
    "INSTANCE": "GANETI_INSTANCE_NAME",
    "NODE": "GANETI_NODE_NAME",
    "GROUP": "GANETI_GROUP_NAME",
    "NETWORK": "GANETI_NETWORK_NAME",
    "CLUSTER": "GANETI_CLUSTER",
}


def run_of(
    order: HooksRun, node: str, result: ScriptResult, origin: Origin | None = None
) -> HookRun:
    """The record of one run, which ``result.run`` names."""
    environments = order.environments
    environment = environments.get(str(result.version)) or next(iter(environments.values()), {})
    # A policy that cannot be followed is in no directory of scripts: it is told of the phase's.
    places = (result.directory, *(one.name for one in order.directories))
    parts = next(filter(None, map(_DIRECTORY.fullmatch, places)), None)
    prefix = parts["operation"] if parts else result.directory
    kind, name = _object(environment)
    return HookRun(
        id=result.run,
        origin=origin or (Origin.JOB if order.job else Origin.NO_JOB),
        operation=_in_version_2().get(prefix, prefix),
        opcode=environment.get("GANETI_OP_CODE", ""),
        kind=kind,
        object=name,
        job=order.job,
        run_id=order.run_id,
        attempt=order.attempt,
        dry_run=order.dry_run,
        phase=parts["phase"] if parts else "",
        node=node,
        result=msgspec.structs.replace(result, output="") if result.output else result,
    )


def runs_of(order: HooksRun, node: str, results: Iterable[ScriptResult]) -> tuple[HookRun, ...]:
    """The records of a phase: of the scripts whose record the node keeps."""
    return tuple(run_of(order, node, one) for one in results if one.run)


def ending(result: ScriptResult) -> str:
    """How it ended, in few words: ``ok``, ``exit 3``, ``signal 9``, ``timeout``, ``not run``."""
    if result.status is ScriptStatus.SKIPPED:
        return "skipped"
    if result.timed_out:
        return "timeout"
    if result.problem:
        return _PROBLEMS.get(result.problem, "not run")
    if result.signal is not None:
        return f"signal {result.signal}"
    return "ok" if result.status is ScriptStatus.SUCCEEDED else f"exit {result.exit_status}"


@cache
def _in_version_2() -> dict[str, str]:
    """Each operation's directory by that of version 1."""
    # The table is only needed once there is something to record.
    from gantry.hooks.table import ROWS

    return {entry.directory(1): entry.directory(2) for entry in ROWS.values()}


def _object(environment: Mapping[str, str]) -> tuple[str, str]:
    kind = environment.get("GANETI_OBJECT_TYPE", "")
    name = environment.get(_OBJECTS.get(kind, "")) or environment.get("GANETI_OP_TARGET", "")
    return kind, name
