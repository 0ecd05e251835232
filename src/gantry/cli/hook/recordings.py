"""Files of recorded runs, as ``gnt-hook record`` writes them: JSON, one object.

``{"format": "gantry-hook-runs-1", "runs": [{"run": {…}, "order": {…}}, …]}``
"""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

from gantry.cli.errors import Usage
from gantry.hooks.trial import of_directory
from gantry.model.hook_orders import HooksRun

_DIRECTORY = re.compile(r"[a-zA-Z0-9_-]{1,128}(\.d)?")
FORMAT = "gantry-hook-runs-1"


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One run: ``order`` is what its phase was told, for the directory that it was in alone."""

    node: str
    script: str
    phase: str
    version: int
    order: HooksRun


def read(path: str) -> list[Recorded]:
    """The runs in a file (``-``: standard input); Usage where it is no such file."""
    try:
        if path == "-":
            text = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as stream:  # noqa: PTH123
                text = stream.read()
        document: Any = msgspec.json.decode(text)
        if document["format"] != FORMAT:
            raise Usage(f"{path} has a format that is not known here: {document['format']}")
        found = [_run(one) for one in document["runs"]]
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise Usage(f"{path} is no recorded run: {error}", "gnt-hook record RUN > FILE") from error
    if not found:
        raise Usage(f"there is no run in {path}", "gnt-hook record RUN > FILE")
    return found


def _run(one: dict[str, Any]) -> Recorded:
    run = one["run"]
    order = msgspec.json.decode(msgspec.json.encode(one["order"]), type=HooksRun)
    directory, version = str(run["script"]).rpartition("/")[0], int(run["version"])
    if not _DIRECTORY.fullmatch(directory):
        raise ValueError(f"{directory!r} is no directory of hooks")
    return Recorded(
        node=str(run["node"]),
        script=str(run["script"]),
        phase=str(run["phase"]),
        version=version,
        order=of_directory(order, directory, version),
    )
