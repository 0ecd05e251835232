"""What ``test`` and ``replay`` share: run a script on the bench, say what it did."""

from __future__ import annotations

import json
import sys

from gantry.cli import errors, table
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gantry.cli.hook.bench import Tried
    from gantry.model.hook_orders import HooksRun


def options(parser: argparse.ArgumentParser) -> None:
    """Of both."""
    parser.add_argument(
        "--show-environment", action="store_true", help="also show all variables that it gets"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the run in this node's ledger, marked as a test: gnt-hook history shows it",
    )


def attempt(arguments: argparse.Namespace, order: HooksRun, phase: str) -> dict[str, Any]:
    """Run it; everything there is to say, as JSON has it."""
    tried: Tried = arguments.bench().run(arguments.script, order, keep=arguments.keep)
    result = tried.result
    if tried.node:
        _tell(tried.node)
    from gantry.hooks.record import ending

    failed = result.status == "failed"
    verdict = ("denies" if phase == "pre" else "fails") if failed else "succeeds"
    return {
        "script": tried.name,
        "version": result.version,
        "verdict": verdict,
        "result": ending(result),
        "exit_status": result.exit_status,
        "signal": result.signal,
        "problem": result.problem,
        "duration": round(result.duration, 6),
        "user_time": result.user_time,
        "system_time": result.system_time,
        "message": result.message,
        "warnings": list(result.warnings),
        "stdout": tried.stdout,
        "stderr": tried.stderr,
        "environment": tried.environment if arguments.show_environment else None,
        "run": result.run if arguments.keep else None,
    }


def _tell(node: str) -> None:
    """The master fetches the run, so that the history has it; without one, it does so later."""
    try:
        Connection().post("hooks/runs/missed", {"node": node})
    except (ApiError, ClientError) as error:
        sys.stderr.write(f"the master was not told of the run, and asks for it later: {error}\n")


def show(found: dict[str, Any]) -> None:
    """The same for people."""
    lines = [
        f"script: {found['script']}, in version {found['version']} of the interface",
        f"verdict: {_VERDICTS[found['verdict']].format(found['result'])}",
        f"took: {found['duration']:.3f} s",
    ]
    if found["message"]:
        lines.append(f"message: {found['message']}")
    lines += [f"warning: {one}" for one in found["warnings"]]
    if found["run"]:
        lines.append(f"kept as: {found['run']} (gnt-hook show)")
    if found["environment"] is not None:
        lines += ["environment:", *(f"  {k}={v}" for k, v in found["environment"].items())]
    for name in ("stdout", "stderr"):
        if found[name]:
            lines += [f"{name}:", *(f"  {line}" for line in found[name].rstrip("\n").split("\n"))]
    sys.stdout.write("".join(f"{table.printable(line)}\n" for line in lines))


_VERDICTS = {
    "denies": "it denies the operation ({})",
    "fails": "it failed ({}), which is noted in the log",
    "succeeds": "it is content ({})",
}


def status(found: list[dict[str, Any]]) -> int:
    """0 where every script was content."""
    return 0 if all(one["verdict"] == "succeeds" for one in found) else errors.FAILURE


def as_json(found: Any) -> None:
    """To stdout."""
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
