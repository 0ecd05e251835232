"""Orders, results and records of hooks, as tests need them."""

from __future__ import annotations

from typing import Any

from gantry.model.hook_orders import (
    HookDirectory,
    HooksRan,
    HooksRun,
    ScriptResult,
    ScriptStatus,
)
from gantry.model.hook_runs import HookRun


def order(instance: str = "web1.example.com", **changes: Any) -> HooksRun:
    """The pre phase of a start, as job 7."""
    fields: dict[str, Any] = {
        "directories": (HookDirectory(name="instance-start-pre.d", version=2),),
        "environments": {
            "2": {
                "GANETI_OP_CODE": "OP_INSTANCE_STARTUP",
                "GANETI_OBJECT_TYPE": "INSTANCE",
                "GANETI_INSTANCE_NAME": instance,
            }
        },
        "main_version": 2,
        "job": 7,
        "run_id": "run-7",
        "attempt": 1,
    }
    return HooksRun(**{**fields, **changes})


def result(script: str = "10-check", **changes: Any) -> ScriptResult:
    """A script that said yes."""
    fields: dict[str, Any] = {
        "directory": "instance-start-pre.d",
        "script": script,
        "status": ScriptStatus.SUCCEEDED,
        "exit_status": 0,
        "version": 2,
        "started": 1_800_000_000.0,
        "duration": 0.25,
    }
    return ScriptResult(**{**fields, **changes})


def failed(script: str = "10-check", **changes: Any) -> ScriptResult:
    """A script that said no, with status 3."""
    return result(script, **{"status": ScriptStatus.FAILED, "exit_status": 3, **changes})


def ran(*results: ScriptResult) -> HooksRan:
    """A node's answer."""
    return HooksRan(results=results)


def run(number: int, **changes: Any) -> HookRun:
    """A record whose id is that number; one second later for each number."""
    of_result = ("script", "status", "directory")
    own: dict[str, Any] = {name: changes.pop(name) for name in of_result if name in changes}
    fields: dict[str, Any] = {
        "id": f"{number:012x}",
        "operation": "instance-start",
        "opcode": "OP_INSTANCE_STARTUP",
        "kind": "INSTANCE",
        "object": "web1.example.com",
        "job": 7,
        "run_id": "run-7",
        "phase": "pre",
        "node": "node1.example.com",
        "result": result(started=1_800_000_000.0 + number, run=f"{number:012x}", **own),
    }
    return HookRun(**{**fields, **changes})
