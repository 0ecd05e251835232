"""``gnt-hook test``."""

from __future__ import annotations

import argparse
import os
import re
import sys

from gantry.cli import errors
from gantry.cli.hook import recordings, trying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gantry.model.hook_orders import HooksRun

EXAMPLES = """
gnt-hook test ./20-has-owner --operation instance-add
gnt-hook test ./20-has-owner --operation instance-add --set INSTANCE_TAGS=owner:me
gnt-hook test ./30-tell --operation instance-start --phase post --show-environment
gnt-hook test ./hooks/instance-add-pre.d/20-has-owner      (the directory says what for)
gnt-hook test ./20-check --operation instance-stop --hooks-version 2 --json
gnt-hook test ./20-has-owner --context run.json            (as a recorded run was told)
gnt-hook test ./hooks/watcher/30-disks                     (as each node runs it by itself)
"""
_WATCHER = "watcher"
_DIRECTORY = re.compile(r"(?P<operation>.+)-(?P<phase>[a-z]+)\.d")


def options(parser: argparse.ArgumentParser) -> None:
    """Which script, and what it is told."""
    parser.add_argument("script", metavar="SCRIPT", help="a file; nothing of it is installed")
    parser.add_argument(
        "--operation",
        metavar="OP",
        help="a directory's prefix such as instance-add, or a code; a made-up cluster has it done",
    )
    parser.add_argument("--phase", choices=("pre", "post", "fail"), help="which phase (pre)")
    parser.add_argument(
        "--hooks-version",
        type=int,
        choices=(1, 2),
        default=1,
        help="the version of the interface that the cluster uses (1)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a variable, with or without GANETI_; as often as wanted",
    )
    parser.add_argument(
        "--context", metavar="FILE", help="told as the first run in a file of gnt-hook record"
    )
    trying.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: it is content; 1: it denies, or failed; 2: it could not be tried."""
    from gantry.model.errors import Rejected

    try:
        order, phase = _order(arguments)
    except Rejected as error:
        raise errors.Usage(error.message, error.hint) from error
    found = trying.attempt(arguments, order, phase)
    if arguments.json:
        trying.as_json(found)
    else:
        trying.show(found)
    return trying.status([found])


def _order(arguments: argparse.Namespace) -> tuple[HooksRun, str]:
    from gantry.hooks import catalogue, trial

    settings = dict(_setting(one) for one in arguments.set)
    if arguments.context:
        if arguments.operation or arguments.phase:
            raise errors.Usage("a recorded run says what it is for", "leave --operation out")
        [one, *_] = recordings.read(arguments.context)
        return trial.changed(one.order, settings), one.phase
    operation, name = _what(arguments)
    if operation == _WATCHER:
        if arguments.phase:
            raise errors.Usage("scripts of watcher have no phase", "leave --phase out")
        return trial.of_watcher(arguments.hooks_version, settings), operation
    phase, version = catalogue.phase_of(name), arguments.hooks_version
    directory = _parent(arguments.script)
    order = trial.made_up(operation, phase, version, settings, directory)
    for name in trial.unknown(order, settings, operation):
        sys.stderr.write(f"{operation} does not send {name}: no such variable will be there\n")
    return order, name


def _what(arguments: argparse.Namespace) -> tuple[str, str]:
    """Operation and phase: as said, else as the script's directory is called."""
    if not os.path.isfile(arguments.script):  # noqa: PTH113
        raise errors.Usage(f"{arguments.script} is no file", "give the path of a script")
    parent = _parent(arguments.script)
    match = _DIRECTORY.fullmatch(parent)
    here = parent if parent == _WATCHER else ""
    operation = arguments.operation or (match["operation"] if match else here)
    if not operation:
        raise errors.Usage("which operation is it for?", "such as --operation instance-add")
    known = match["phase"] if match and not arguments.operation else "pre"
    phase = arguments.phase or known
    return operation, phase


def _parent(script: str) -> str:
    """The name of the directory that it is in."""
    return os.path.basename(os.path.dirname(os.path.abspath(script)))  # noqa: PTH120, PTH100, PTH119


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise errors.Usage(f"--set {text} sets nothing", "write NAME=VALUE")
    return name, value
