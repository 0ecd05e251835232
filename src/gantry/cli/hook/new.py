"""``gnt-hook new``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys

from gantry.cli import errors

EXAMPLES = """
gnt-hook new 20-has-owner --operation instance-add --phase pre
gnt-hook new 50-register --operation instance-start --phase post --language python
gnt-hook new 20-has-owner --operation instance-add --phase pre --dir ./hooks
gnt-hook new 30-disks --operation watcher --dir ./hooks      (each node runs it by itself)
"""
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def options(parser: argparse.ArgumentParser) -> None:
    """What is begun."""
    parser.add_argument(
        "name", metavar="NAME", help="such as 20-has-owner: two digits say when it runs"
    )
    parser.add_argument(
        "--operation",
        required=True,
        metavar="OP",
        help="such as instance-add, or a code; or watcher, which has no phase",
    )
    parser.add_argument("--phase", choices=("pre", "post", "fail"), help="when")
    parser.add_argument("--language", choices=("sh", "python"), default="sh", help="(sh)")
    parser.add_argument(
        "--dir",
        default=".",
        metavar="DIR",
        help="make it below this directory, in OPERATION-PHASE.d (here)",
    )
    parser.add_argument(
        "--hooks-version",
        type=int,
        choices=(1, 2),
        default=1,
        help="the version of the interface that the cluster uses (1)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the file, which does nothing yet but what every script should; say what is next."""
    if not _NAME.fullmatch(arguments.name):
        raise errors.Usage(
            f"a script called {arguments.name} would never run",
            "a name is made of letters, digits, _ and - alone, such as 20-has-owner",
        )
    directory, text = _begun(arguments)
    place = os.path.join(arguments.dir, directory)  # noqa: PTH118
    os.makedirs(place, exist_ok=True)  # noqa: PTH103
    path = os.path.join(place, arguments.name)  # noqa: PTH118
    try:
        with open(path, "x", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(text)
            os.fchmod(stream.fileno(), 0o755)
    except FileExistsError:
        raise errors.Usage(f"{path} is there already", "choose another name, or edit it") from None
    if arguments.json:
        sys.stdout.write(json.dumps({"path": path}) + "\n")
    else:
        sys.stdout.write(
            f"made {path}\n"
            f"  try it:        gnt-hook test {path}\n"
            f"  look at it:    gnt-hook lint {arguments.dir}\n"
            f"  to all nodes:  gnt-hook push {arguments.dir}\n"
        )
    return 0


def _begun(arguments: argparse.Namespace) -> tuple[str, str]:
    """The directory, and the text."""
    from gantry.hooks import catalogue, skeleton, trial, watcher
    from gantry.model.errors import Rejected

    if arguments.operation == watcher.DIRECTORY:
        if arguments.phase:
            raise errors.Usage("scripts of watcher have no phase", "leave --phase out")
        text = skeleton.of_watcher(arguments.name, arguments.language)
        return watcher.DIRECTORY, text
    if not arguments.phase:
        raise errors.Usage("when is it to run?", "give --phase pre, post or fail")
    version = arguments.hooks_version
    try:
        phase = catalogue.phase_of(arguments.phase)
        order = trial.made_up(arguments.operation, phase, version, {})
    except Rejected as error:
        raise errors.Usage(error.message, error.hint) from error
    [directory] = order.directories
    environment = order.environments[str(directory.version)]
    return directory.name, skeleton.text(arguments.name, phase, environment, arguments.language)
